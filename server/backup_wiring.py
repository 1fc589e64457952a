"""What the worker seals backups with: keys that wrap, tenants' keys, the folder of archives. Holds no rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.audit.recorder import LeafRecorder
from control_plane.databases.archives import ArchiveFolder, Sealing
from control_plane.databases.manifests import ManifestSigner
from control_plane.databases.postgres_programs import find_programs
from control_plane.errors import BadInput
from control_plane.ports import Clock, Ids, Store
from control_plane.secrets.file_kek import FileKek
from control_plane.secrets.key_copies import KeyCopies
from control_plane.secrets.key_encryption import KeyEncryption, KeyRing
from control_plane.secrets.key_settings import (
    OWN_KEY,
    AgeKey,
    CommandKey,
    FileKey,
    KeySettings,
    KeySource,
    parse_keys,
)
from control_plane.store.data_keys import StoredDataKeys
from control_plane.store.sqlite import SqliteStore
from server.keys import Keys
from server.private_files import NotPrivate, read_own_file
from server.settings import Settings, process_environment
from server.workspace import Workspace

_SETTINGS_BYTES_MAX: Final = 65_536
_IDENTITY_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Backing:
    """Tenants' data keys, and the folder of archives that they seal."""

    keys: StoredDataKeys
    archives: ArchiveFolder


def wire_backups(
    workspace: Workspace, settings: Settings, keys: Keys, store: Store, clock: Clock, ids: Ids
) -> Backing:
    """Both over one workspace; every writer of leaves writes as the recorder of a face would.

    Raises BadInput for a file of keys, or of an identity, that does not read.
    """
    data_keys = StoredDataKeys(
        store,
        LeafRecorder(keys.public.seal_bytes, clock, ids),
        clock,
        ids,
        wire_ring(settings, keys),
        KeyCopies(workspace.data_keys),
        workspace.id,
        store.cut_log if isinstance(store, SqliteStore) else bool,
    )
    sealing = Sealing(workspace.id, data_keys, ManifestSigner(keys.audit_seed), keys.seal_private)
    return Backing(
        data_keys,
        ArchiveFolder(
            workspace.backups,
            sealing,
            lambda major: find_programs(settings.pg_bin, settings.path, major),
        ),
    )


def wire_ring(settings: Settings, keys: Keys) -> KeyRing:
    """The keys that wrap data keys, as the worker's user declares them. Raises BadInput."""
    declared = read_key_settings(settings.keys_file)
    # What was wrapped before there were others opens as long as the workspace has its key.
    own = FileKek(keys.public.seal_bytes, keys.seal_private)

    def made(source: KeySource) -> KeyEncryption:
        return own if isinstance(source, FileKey) else _made(source)

    return KeyRing(made(declared.current), [*map(made, declared.former), own])


def read_key_settings(path: Path | None) -> KeySettings:
    """The keys in a file that only this user may read; the workspace's own without one. Raises BadInput."""
    if path is None:
        return OWN_KEY
    content = _private(path, "PAYBILL_KEYS_FILE", _SETTINGS_BYTES_MAX)
    return parse_keys(content, path.name)


def _made(source: AgeKey | CommandKey) -> KeyEncryption:
    if isinstance(source, AgeKey):
        from control_plane.secrets.age_kek import AgeKek  # its library is an extra

        return AgeKek(_private(source.identity, "identity", _IDENTITY_BYTES_MAX))
    from control_plane.secrets.command_kek import CommandKek

    return CommandKek(
        source.argv, source.reference, process_environment(), float(source.deadline_s)
    )


def _private(path: Path, name: str, bytes_max: int) -> str:
    try:
        return read_own_file(path, bytes_max=bytes_max, closed=True).decode("utf-8")
    except (NotPrivate, OSError, UnicodeDecodeError):
        raise BadInput(
            name, f"must be a plain text file of this user alone, at most {bytes_max} bytes"
        ) from None
