"""Sealed archives without a store: keys of tenants in memory, a signature, archives as they were before. Not a test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_bytes
from typing import IO, Any, Final

from control_plane.databases.archive_chunks import SealedWriter
from control_plane.databases.archives import ArchiveFolder, Sealing
from control_plane.databases.manifests import ManifestSigner
from control_plane.domain.backup_manifest import BackupFacts, Manifest
from control_plane.domain.canonical import Json, canonical
from control_plane.errors import Refused
from control_plane.secrets.box import new_keypair, seal
from control_plane.secrets.data_keys import OpenKey
from control_plane.secrets.signer import new_seed

WORKSPACE: Final = "w-1"
UNTIL: Final = "2030-02-01T00:00:00.000000Z"
BOX_PRIVATE, BOX_PUBLIC = new_keypair()
TABLES: Final[dict[str, Json]] = {"contacts": {"rows": 2, "checksum": "a" * 64}}


class MemoryKeys:
    """A data key for each tenant; `rotate` and `shred` as the stored ones do."""

    def __init__(self) -> None:
        self.every: dict[str, list[OpenKey | None]] = {}

    def current(self, tenant: str) -> OpenKey:
        if tenant not in self.every:
            self.rotate(tenant)
        return self._living(self.every[tenant][-1])

    def of_version(self, tenant: str, version: int, key_id: str) -> OpenKey:
        known = self.every.get(tenant, [])
        if version > len(known):
            raise Refused(code="key_missing")
        found = self._living(known[version - 1])
        if found.id != key_id:
            raise Refused(code="key_missing")
        return found

    def rotate(self, tenant: str) -> None:
        known = self.every.setdefault(tenant, [])
        known.append(OpenKey(f"{tenant}-{len(known) + 1}", len(known) + 1, token_bytes(32)))

    def shred(self, tenant: str) -> None:
        self.every[tenant] = [None for _ in self.every[tenant]]

    def _living(self, key: OpenKey | None) -> OpenKey:
        if key is None:
            raise Refused(code="key_shredded")
        return key


class ArchiveBench:
    """A folder of archives over keys in memory."""

    def __init__(self, root: Path, keys: MemoryKeys | None = None, seed: bytes = b"") -> None:
        self.root = root
        self.keys = keys or MemoryKeys()
        self.seed = seed or new_seed()
        self.signer = ManifestSigner(self.seed)
        self.folder = ArchiveFolder(root, self.sealing())

    def sealing(self, workspace: str = WORKSPACE) -> Sealing:
        return Sealing(workspace, self.keys, self.signer, BOX_PRIVATE)

    def put(
        self, content: bytes, backup: str = "b1", tenant: str = "acme", **changed: Any
    ) -> Manifest:
        def write(target: IO[bytes]) -> Mapping[str, Json]:
            for start in range(0, len(content), 100_000):
                target.write(content[start : start + 100_000])
            return TABLES

        return self.folder.put(facts(tenant, backup, **changed), write)

    def read(self, digest: str, backup: str = "b1", tenant: str = "acme") -> bytes:
        with self.folder.open(tenant, backup, digest) as source:
            return source.read()

    def archive(self, backup: str = "b1", tenant: str = "acme") -> Path:
        return self.root / tenant / f"{backup}.archive"

    def manifest(self, backup: str = "b1", tenant: str = "acme") -> Path:
        return self.root / tenant / f"{backup}.json"


def facts(tenant: str = "acme", backup: str = "b1", **changed: Any) -> BackupFacts:
    known: dict[str, Any] = {
        "tenant": tenant,
        "backup_id": backup,
        "made_at": "2030-01-01T09:00:00.000000Z",
        "kind": "canonical",
        "isolation": "pooled",
        "server": "main",
        "engine": "sqlite",
        "schema_digest": "b" * 64,
        "catalog_digest": "c" * 64,
        "restorable_until": UNTIL,
    }
    return BackupFacts.model_validate({**known, **changed})


def put_before(
    root: Path, content: bytes, backup: str = "b1", tenant: str = "acme", public: bytes = BOX_PUBLIC
) -> str:
    """An archive as it was made before there were manifests; its digest."""
    key = token_bytes(32)
    box = seal(public, key, canonical(["archive", tenant, backup]))
    folder = root / tenant
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{backup}.archive"
    with path.open("wb") as file:
        sealing = SealedWriter(file, key, b"paybill archive 1\n" + box)
        sealing.write(content)
        sealing.finish()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_of(deed: Callable[[], object]) -> str:
    """The code with which it is refused; empty where it is not."""
    try:
        deed()
    except Refused as error:
        return error.code
    return ""
