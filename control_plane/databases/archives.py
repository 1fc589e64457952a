"""The folder of archives: sealed, whole or not there, a signed manifest beside each. Not what is in one, nor how long it is kept.

`<tenant>/<backup>.archive` is a mark and chunks under a fresh key, and `<tenant>/<backup>.json` its
manifest, with that key wrapped in it. An archive of before has no manifest: its key stands in a box
to the workspace's key, behind another mark. Whoever can only write here can put nothing that opens.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from tempfile import mkstemp
from typing import IO, Final, TypeAlias, cast

from control_plane.databases.archive_chunks import CHUNK_BYTES, SealedReader, SealedWriter, altered
from control_plane.databases.manifests import (
    MANIFEST_BYTES_MAX,
    ManifestSigner,
    SignedManifest,
    differs,
    unreadable,
)
from control_plane.databases.port import check_tenant
from control_plane.databases.postgres_programs import DumpPrograms
from control_plane.domain.backup_manifest import BackupFacts, Manifest
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import BadInput, Failed, Refused, Unavailable
from control_plane.ports import KeptManifest
from control_plane.secrets.box import KEY_BYTES, OVERHEAD_BYTES, BoxError, open_box
from control_plane.secrets.data_keys import DataKeys

_BOXED: Final = b"paybill archive 1\n"
_MARK: Final = b"paybill archive 2\n"
_BOX_BYTES: Final = KEY_BYTES + OVERHEAD_BYTES
_BACKUP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNFINISHED: Final = ".writing"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Sealing:
    """What archives are sealed with: keys of tenants, the worker's signature, the box of before.

    `box_private` (32 raw bytes) opens archives of before; `workspace` is the workspace's id.
    """

    workspace: str
    keys: DataKeys
    signer: ManifestSigner
    box_private: bytes


def _no_programs(_major: int) -> DumpPrograms:
    raise Unavailable("pg_dump was not looked for", code="pg_dump_missing")


FindPrograms: TypeAlias = Callable[[int], DumpPrograms]


class ArchiveFolder:
    """Archives under `root`, which must be there: a folder 0700 a tenant, files 0600."""

    def __init__(self, root: Path, sealing: Sealing, programs: FindPrograms = _no_programs) -> None:
        self._root = root
        self._sealing = sealing
        self._programs = programs

    def dump_programs(self, major: int) -> DumpPrograms:
        """Postgres's own programs of that major version or a newer one."""
        return self._programs(major)

    # Put -------------------------------------------------------------------------------------

    def put(self, facts: BackupFacts, write: Callable[[IO[bytes]], Mapping[str, Json]]) -> Manifest:
        """Keep what `write` writes, in place of what stood under the id; its errors pass through.

        It gives what it wrote: the rows and the checksum of each table. Raises as the port says.
        """
        path = self._path(facts.tenant, facts.backup_id)
        data_key, archive_key = self._sealing.keys.current(facts.tenant), token_bytes(KEY_BYTES)
        with self._unfinished(path) as file:
            sealing = SealedWriter(file, archive_key, _MARK)
            # It is one in all that a writer needs; only the stub keeps the two apart.
            tables = write(cast("IO[bytes]", sealing))
            found, size_bytes = sealing.finish()
            manifest = Manifest.model_validate(
                {
                    **facts.model_dump(),
                    "workspace": self._sealing.workspace,
                    "tables": tables,
                    "archive_digest": found,
                    "archive_bytes": size_bytes,
                    "key_id": data_key.id,
                    "key_version": data_key.version,
                }
            )
            content = self._sealing.signer.written(manifest, archive_key, data_key)
        self._keep_manifest(path, content)
        return manifest

    def prolong(self, tenant: str, backup_id: str, until: str) -> Manifest:
        """Say in the manifest that it is kept until another instant; again changes nothing.

        Raises as `open`; an archive of before has nothing to say it in: `manifest_missing`.
        """
        path = self._path(tenant, backup_id)
        signed = self._manifest(path, tenant, backup_id)
        manifest = signed.manifest
        if manifest.restorable_until == until:
            return manifest
        data_key = self._sealing.keys.of_version(tenant, manifest.key_version, manifest.key_id)
        longer = manifest.model_copy(update={"restorable_until": until})
        # The archive's key is bound to the manifest: it is wrapped anew.
        content = self._sealing.signer.written(longer, signed.open_key(data_key), data_key)
        self._keep_manifest(path, content)
        return longer

    # Opened ----------------------------------------------------------------------------------

    @contextmanager
    def open(self, tenant: str, backup_id: str, digest: str) -> Generator[IO[bytes]]:
        """What was written, to be read once from its start; the file's digest is looked at first."""
        path = self._path(tenant, backup_id)
        with self._opened(path) as file:
            with _translated():
                found = hashlib.file_digest(file, "sha256").hexdigest()
                size_bytes = file.tell()
                file.seek(0)
                mark = file.read(len(_MARK))
            if mark == _BOXED and not _manifest_path(path).exists():
                if found != digest:
                    raise altered()
                key = self._boxed_key(file, tenant, backup_id)
            else:
                key = self._key(path, (tenant, backup_id, digest), (found, size_bytes))
                if mark != _MARK:
                    raise altered()

            def read(count: int) -> bytes:
                with _translated():
                    return file.read(count)

            yield io.BufferedReader(SealedReader(read, key), CHUNK_BYTES)

    def manifests(self) -> list[KeptManifest]:
        """Every archive that lies here, by tenant and id, with its manifest or why there is none.

        Of each the signature was verified, and that it lies where it says; not the archive itself.
        """
        with _translated():
            archives = sorted(self._root.glob("*/*.archive"))
            # One that lost its archive is told too: opening it says `archive_missing`.
            alone = sorted(self._root.glob("*/*.json"))
        every = sorted({*archives, *(one.with_suffix(".archive") for one in alone)})
        return [self._told(path) for path in every]

    @contextmanager
    def aside(self, tenant: str) -> Generator[Path]:
        """A file (0600, empty) for a while: gone at the end, and a killed one's with the next put."""
        folder = self._root / check_tenant(tenant)
        with _translated():
            folder.mkdir(mode=0o700, exist_ok=True)
            handle, name = mkstemp(prefix=".", suffix=_UNFINISHED, dir=folder)
            os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def drop(self, tenant: str, backup_id: str) -> None:
        """Forget it; nothing happens when it is gone already."""
        path = self._path(tenant, backup_id)
        with _translated():
            if not path.parent.is_dir():
                return
            # The key first: without it the rest is nobody's.
            _manifest_path(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            self._sweep(path.parent)
            _sync(path.parent)
            with suppress(OSError):  # it holds another archive
                path.parent.rmdir()

    # Within ----------------------------------------------------------------------------------

    def _key(self, path: Path, wanted: tuple[str, str, str], found: tuple[str, int]) -> bytes:
        """The key of the archive at `path`, wanted by (tenant, backup, digest), found as (digest, bytes)."""
        tenant, backup_id, digest = wanted
        signed = self._manifest(path, tenant, backup_id)
        manifest = signed.manifest
        if manifest.archive_digest != digest:
            raise differs()
        if found[1] < manifest.archive_bytes:
            raise Refused("The archive is cut off.", code="archive_truncated")
        if found != (digest, manifest.archive_bytes):
            raise altered()
        keys = self._sealing.keys
        return signed.open_key(keys.of_version(tenant, manifest.key_version, manifest.key_id))

    def _boxed_key(self, file: IO[bytes], tenant: str, backup_id: str) -> bytes:
        with _translated():
            box = file.read(_BOX_BYTES)
        context = canonical(["archive", tenant, backup_id])
        try:
            return open_box(self._sealing.box_private, box, context)
        except BoxError:
            raise altered() from None

    def _manifest(self, path: Path, tenant: str, backup_id: str) -> SignedManifest:
        with _translated():
            try:
                with _manifest_path(path).open("rb") as file:
                    content = file.read(MANIFEST_BYTES_MAX + 1)
            except FileNotFoundError:
                raise Refused("The archive has no manifest.", code="manifest_missing") from None
        if len(content) > MANIFEST_BYTES_MAX:
            raise unreadable()
        signed = self._sealing.signer.read(content)
        named = (signed.manifest.workspace, signed.manifest.tenant, signed.manifest.backup_id)
        if named != (self._sealing.workspace, tenant, backup_id):
            raise differs()
        return signed

    def _told(self, path: Path) -> KeptManifest:
        tenant, backup_id = path.parent.name, path.stem
        try:
            return KeptManifest(tenant, backup_id, self._manifest(path, tenant, backup_id).manifest)
        except Refused as error:
            return KeptManifest(tenant, backup_id, None, error.code)

    def _keep_manifest(self, path: Path, content: bytes) -> None:
        with self._unfinished(_manifest_path(path)) as file:
            file.write(content)

    @contextmanager
    def _unfinished(self, path: Path) -> Generator[IO[bytes]]:
        """A file that appears at the path once it is whole; nothing of it stays after an error."""
        with _translated():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _sync(self._root)
            self._sweep(path.parent)
            handle, name = mkstemp(prefix=".", suffix=_UNFINISHED, dir=path.parent)
            unfinished = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync(path.parent)

    def _sweep(self, folder: Path) -> None:
        # One run holds a tenant at a time, so an unfinished file is a killed one's.
        for leftover in folder.glob(f".*{_UNFINISHED}"):
            leftover.unlink(missing_ok=True)

    def _path(self, tenant: str, backup_id: str) -> Path:
        if _BACKUP.fullmatch(backup_id) is None:
            raise BadInput("backup_id", "must be 1 to 64 of a-z, A-Z, 0-9, _ and -")
        return self._root / check_tenant(tenant) / f"{backup_id}.archive"

    @contextmanager
    def _opened(self, path: Path) -> Generator[io.BufferedReader]:
        with _translated():
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise Refused("The archive is gone.", code="archive_missing") from None
        with file:
            yield file


def _manifest_path(path: Path) -> Path:
    return path.with_suffix(".json")


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Failed("There is no room left for the archive.", code="disk_full") from error
        raise Unavailable(
            "The folder of archives cannot be used.", code="archive_unavailable"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
