"""How a worker gets into the servers that stacks make: what its user declares, and where their secrets lie. Holds none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from control_plane.errors import BadInput, Unavailable
from control_plane.provisioning.accounts import Clouds
from control_plane.provisioning.credentials import fetch
from control_plane.provisioning.stack_places import (
    FromAccount,
    FromFolder,
    FromVariables,
    StackPlace,
    StackPlaces,
    parse_places,
)
from control_plane.provisioning.stack_servers import StackServers
from control_plane.secrets.owner_login import (
    SecretFiles,
    SecretProgram,
    SecretSource,
    SecretVariables,
)
from server.private_files import NotPrivate, read_own_file
from server.provisioning_wiring import read_clouds
from server.settings import Settings, process_environment
from server.stack_servers import StackLogins
from server.workspace import Workspace

_BYTES_MAX: Final = 16_384


def wire_stack_servers(workspace: Workspace, settings: Settings) -> StackServers:
    """The servers of stacks, as the worker's user declares them; none is adopted without. Raises BadInput."""
    clouds = read_clouds(settings.clouds_file)

    def source(place: StackPlace, tenant: str, region: str) -> SecretSource:
        return _source(place, tenant, region, clouds)

    return StackLogins(workspace, read_places(settings.stack_databases_file), source)


def read_places(path: Path | None) -> StackPlaces:
    """What a file of this user alone declares; nothing without one. Raises BadInput."""
    if path is None:
        return StackPlaces()
    try:
        text = read_own_file(path, bytes_max=_BYTES_MAX, closed=True).decode("utf-8")
    except (NotPrivate, OSError, UnicodeDecodeError):
        raise BadInput(
            "PAYBILL_STACK_DATABASES_FILE",
            f"must be a plain text file of this user alone, at most {_BYTES_MAX} bytes",
        ) from None
    return parse_places(text, path.name)


def _source(place: StackPlace, tenant: str, region: str, clouds: Clouds) -> SecretSource:
    secret = place.secret
    if isinstance(secret, FromVariables):
        return SecretVariables(secret.names, process_environment())
    if isinstance(secret, FromFolder):
        return SecretFiles(secret.path)
    if not isinstance(secret, FromAccount):
        return SecretProgram(secret.argv, process_environment(), float(secret.deadline_s))
    from control_plane.provisioning.clouds.aws_secrets import AwsSecrets

    account = clouds.account_of(place.cloud, tenant)
    if account is None:
        raise Unavailable("no account of the cloud is declared", code="credentials_missing")
    return AwsSecrets(account, fetch(account.credentials, process_environment()), region)
