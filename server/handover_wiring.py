"""Where the passwords of tenants' services are left, and how they are handed over. Holds none of them, and no rule."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from control_plane.domain.handover import HandoverTerms
from control_plane.errors import BadInput
from control_plane.secrets.secret_folder import SecretFolder
from control_plane.secrets.secret_place import SecretPlace
from control_plane.secrets.secret_settings import FolderPlace, parse_place
from server.private_files import NotPrivate, read_own_file
from server.settings import Settings, process_environment
from server.workspace import Workspace

_BYTES_MAX: Final = 16_384
_FOLDER: Final = "handover"


def wire_terms(settings: Settings) -> HandoverTerms:
    """How services are handed what they are."""
    return HandoverTerms(
        settings.handover_host, settings.handover_port, settings.handover_overlap_s
    )


def wire_secrets(workspace: Workspace, settings: Settings) -> SecretPlace:
    """The place that the worker's user declares, else a folder of the workspace's state. Raises BadInput."""
    if settings.handover_file is None:
        return SecretFolder(workspace.state / _FOLDER)
    declared = parse_place(_private(settings.handover_file), settings.handover_file.name)
    if isinstance(declared, FolderPlace):
        return SecretFolder(declared.path)
    from control_plane.secrets.secret_command import SecretCommand

    return SecretCommand(declared.argv, process_environment(), float(declared.deadline_s))


def _private(path: Path) -> str:
    try:
        return read_own_file(path, bytes_max=_BYTES_MAX, closed=True).decode("utf-8")
    except (NotPrivate, OSError, UnicodeDecodeError):
        raise BadInput(
            "PAYBILL_HANDOVER_FILE",
            f"must be a plain text file of this user alone, at most {_BYTES_MAX} bytes",
        ) from None
