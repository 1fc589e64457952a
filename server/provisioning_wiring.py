"""What a worker provisions with: Terraform, the accounts of clouds, their stacks. Holds no rule, and plans nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from control_plane.domain.isolation import ISOLATIONS
from control_plane.errors import BadInput, Unavailable
from control_plane.handlers.stack_records import account_held
from control_plane.ports import Provisioner, Store
from control_plane.provisioning.accounts import NO_CLOUDS, Clouds, parse_clouds
from control_plane.provisioning.credentials import fetch
from control_plane.provisioning.stacks import Overrides, StackRequest
from server.private_files import NotPrivate, read_own_file
from server.settings import Settings, process_environment
from server.workspace import Workspace

if TYPE_CHECKING:
    from control_plane.provisioning.inventory import Inventory

_CLOUDS_BYTES_MAX: Final = 262_144


def wire_provisioner(
    workspace: Workspace,
    settings: Settings,
    hmac_key: bytes,
    admitted_modules: frozenset[str],
    modules: Path | None,
    own_stacks: Callable[[], Overrides],
    store: Store,
) -> Provisioner:
    """Terraform over the accounts that the worker's user declares; what tells of it where there is none.

    ``own_stacks`` are the workspace's own, of the catalog in force; ``store`` knows in which account
    each stack stands. Raises BadInput for a file of accounts that does not read.
    """
    from control_plane.provisioning.absent import AbsentProvisioner
    from control_plane.provisioning.binary import find as find_terraform
    from control_plane.provisioning.clouds.choose import adapter_for
    from control_plane.provisioning.provisioner import TerraformProvisioner
    from control_plane.provisioning.runner import RunnerSettings
    from control_plane.provisioning.site import Sites

    clouds = read_clouds(settings.clouds_file)

    def held_in(request: StackRequest) -> str | None:
        with store.read() as connection:
            return account_held(connection, request)

    try:
        terraform = find_terraform(settings.terraform_bin, settings.path)
    except Unavailable as error:
        # Reading, listing and refusing need no Terraform: the worker goes on without it.
        return AbsentProvisioner(error)
    provisioner = TerraformProvisioner(
        terraform,
        RunnerSettings(),
        root=workspace.terraform,
        hmac_key=hmac_key,
        admitted_modules=admitted_modules,
        module_overrides=_overrides(modules),
        own_modules=own_stacks,
        sites=Sites(
            workspace.terraform,
            clouds,
            adapt=adapter_for,
            fetch_credentials=lambda source: fetch(source, process_environment()),
            held_in=held_in,
        ),
    )
    provisioner.sweep()
    return provisioner


def look_into(workspace: Workspace, clouds: Clouds) -> Inventory:
    """What bears the workspace's labels in every account; it is asked now, and nothing is changed."""
    from control_plane.provisioning.clouds.choose import adapter_for
    from control_plane.provisioning.inventory import inventory

    return inventory(
        clouds,
        workspace.id[:8],
        adapter_for,
        lambda source: fetch(source, process_environment()),
    )


def read_clouds(path: Path | None) -> Clouds:
    """The accounts in a file that only this user may read; none without one. Raises BadInput."""
    if path is None:
        return NO_CLOUDS
    try:
        content = read_own_file(path, bytes_max=_CLOUDS_BYTES_MAX, closed=True)
    except (NotPrivate, OSError):
        raise BadInput(
            "PAYBILL_CLOUDS_FILE",
            f"must be a plain file of this user alone, at most {_CLOUDS_BYTES_MAX} bytes",
        ) from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput("PAYBILL_CLOUDS_FILE", "must be UTF-8") from None
    return parse_clouds(text, path.name)


def _overrides(modules: Path | None) -> dict[tuple[str, str], Path]:
    if modules is None:
        return {}
    return {("local", model): modules / "local" / model for model in ISOLATIONS}
