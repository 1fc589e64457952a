"""The variables of an account's credentials, as its adapter asks for them. Not where they come from."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.clouds.faults import missing


def wanted(cloud: Cloud, credentials: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """The values of these variables. Raises Unavailable(`credentials_missing`) naming who is absent."""
    absent = [name for name in names if not credentials.get(name)]
    if absent:
        raise missing(cloud, absent)
    return tuple(credentials[name] for name in names)


def either(cloud: Cloud, credentials: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of these variables that is there, with its name."""
    for name in names:
        if credentials.get(name):
            return name, credentials[name]
    raise missing(cloud, [" or ".join(names)])
