"""The door to the clouds' SDKs: imported when an account is used, kept silent, bounded. No calls."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import Any, Final

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.faults import sdk_missing

_SILENT: Final = logging.CRITICAL + 1
# They log addresses, requests and refusals, and some of it at WARNING.
_LOGGERS: Final[dict[Cloud, tuple[str, ...]]] = {
    "aws": ("boto3", "botocore", "s3transfer", "urllib3"),
    "azure": ("azure", "msal", "urllib3"),
    "gcp": ("google", "urllib3"),
    "oci": ("oci", "circuitbreaker", "urllib3"),
    "ibm": ("ibm-cloud-sdk-core", "ibm_cloud_sdk_core", "ibm_platform_services", "urllib3"),
}


@dataclass(frozen=True)
class Patience:
    """How long one request may take. None is repeated: whoever asks again is the worker."""

    connect_s: float = 3.0
    read_s: float = 10.0


PATIENCE: Final = Patience()


def load(cloud: Cloud, name: str) -> Any:
    """A module of the cloud's SDK. Raises Unavailable(`sdk_missing`)."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        raise sdk_missing(cloud) from None
    for logger in _LOGGERS[cloud]:
        logging.getLogger(logger).setLevel(_SILENT)
    return module
