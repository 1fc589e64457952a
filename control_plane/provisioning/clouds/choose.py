"""Which adapter looks into which cloud. Its SDK is imported only when one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from control_plane.domain.isolation import Cloud
from control_plane.errors import BadInput
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds import aws, azure, gcp, ibm, oci
from control_plane.provisioning.clouds.adapter import Open, SdkAdapter
from control_plane.provisioning.clouds.port import CloudAdapter
from control_plane.provisioning.clouds.sdk import PATIENCE, Patience

_Opens: TypeAlias = Callable[[CloudAccount, Mapping[str, str], Patience], Open]

OPENS: Final[Mapping[Cloud, _Opens]] = MappingProxyType(
    {
        "aws": aws.opens,
        "azure": azure.opens,
        "gcp": gcp.opens,
        "oci": oci.opens,
        "ibm": ibm.opens,
    }
)


def adapter_for(
    cloud: Cloud,
    account: CloudAccount,
    credentials: Mapping[str, str],
    patience: Patience = PATIENCE,
) -> CloudAdapter:
    """The adapter of one account. `credentials` are the variables that Terraform's provider reads.

    Asks the cloud nothing yet. Raises Unavailable (`sdk_missing`, `credentials_missing`,
    `credentials_refused`) and BadInput for an address that must not be used, and for `local`.
    """
    opens = OPENS.get(cloud)
    if opens is None:
        raise BadInput("cloud", "has no account to look into")
    return SdkAdapter(cloud, account, opens(account, credentials, patience))
