"""The auditor's service: verifies, shows and exports the audit log of one workspace. Writes nothing to it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, select

from control_plane.audit import export, verify
from control_plane.audit.checkpoint import parse_and_verify
from control_plane.audit.guarded import APPLIED, CATALOG_TABLE, KEY_TABLE, RowKey, key_digest
from control_plane.audit.leaf import Leaf, LeafError, open_leaf
from control_plane.audit.note import VerifierKey
from control_plane.audit.recorder import guarded_rows
from control_plane.audit.report import Report
from control_plane.domain.canonical import Json
from control_plane.errors import Failed, NotFound, PaybillError
from control_plane.ports import Store
from control_plane.secrets.box import BoxError
from control_plane.secrets.tenant_keys import TenantKey, unwrap
from control_plane.store import tables
from control_plane.store.log import StoredLeaf, StoredLog
from control_plane.store.snapshot import snapshot
from server import catalog, keys
from server.workspace import Workspace

SHOWN_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf as it is shown; `index` is None while it waits for one.

    `payload` is None where it was not opened; `closed` then says why, by its code.
    """

    index: int | None
    leaf: Leaf
    payload: dict[str, Json] | None = None
    closed: str = ""


class Auditing:
    """Works on one state of the store at a time; needs no private key but to open payloads."""

    def __init__(self, workspace: Workspace, store: Store) -> None:
        self._workspace = workspace
        self._store = store

    def verifier_key(self) -> str:
        """The log's key as text, to be kept elsewhere. Raises KeysError, NotPrivate."""
        public = keys.load_public(self._workspace.keys).audit_bytes
        return VerifierKey(self._workspace.log_origin, public).text()

    def verify(self, key: str | None = None, checkpoint_note: str | None = None) -> Report:
        """Hold log, rows, public keys and catalog files against each other.

        Without `key`, what this workspace says its key is. Raises NoteError when `key` is
        malformed, Failed (`audit_unreadable`) when the log's own rows no longer read.
        """
        key = self.verifier_key() if key is None else key
        with snapshot(self._store) as one:
            log = StoredLog(one)
            try:
                return verify.verify(
                    log,
                    key,
                    rows=self._standing(one.connection),
                    checkpoint_note=checkpoint_note,
                    sealed=log.sealed,
                )
            except (TypeError, ValueError):
                raise Failed(
                    "The audit log's rows no longer read: they were altered.",
                    code="audit_unreadable",
                ) from None

    def _standing(self, connection: Connection) -> dict[RowKey, str]:
        standing = guarded_rows(connection)
        for name, public in self._public_keys().items():
            standing[KEY_TABLE, name] = key_digest(bytes.fromhex(public))
        files = catalog.standing_digest(connection, self._workspace.catalogs)
        if files is not None:
            standing[CATALOG_TABLE, APPLIED] = files
        return standing

    def _public_keys(self) -> dict[str, str]:
        # Not readable is a finding like any other: the leaves say that the keys are there.
        try:
            return keys.load_public(self._workspace.keys).model_dump()
        except PaybillError:
            return {}

    def newest(self, limit: int, tenant: str | None = None, *, opened: bool = False) -> list[Entry]:
        """The newest leaves first, at most 1,000; `opened` needs the worker's key.

        Raises LeafError; with `opened`, KeysError, NotPrivate and KeyFileError.
        """
        private = keys.load(self._workspace.keys).seal_private if opened else None
        with snapshot(self._store) as one:
            found = StoredLog(one).newest(min(limit, SHOWN_MAX), tenant)
            if private is None:
                return [Entry(stored.index, stored.leaf) for stored in found]
            return [_opened(one.connection, stored, private) for stored in found]

    def checkpoint(self) -> str:
        """The newest signed note. Raises NotFound before the first, NoteError when it is forged."""
        note = StoredLog(self._store).head().note
        if note is None:
            raise NotFound(
                "There is no checkpoint yet: the worker signs one when it runs.",
                code="audit_unsigned",
            )
        parse_and_verify(note, self.verifier_key())
        return note

    @contextmanager
    def export(self) -> Generator[Iterator[str]]:
        """The lines of a whole export, of one state of the store. Raises as `export_whole`."""
        with snapshot(self._store) as one:
            yield export.export_whole(StoredLog(one))


def verify_export(lines: Iterable[str], key: str, checkpoint_note: str | None = None) -> Report:
    """Check an export with the verifier key alone, without any workspace."""
    return export.verify_export(lines, key, checkpoint_note=checkpoint_note)


def _opened(connection: Connection, stored: StoredLeaf, private: bytes) -> Entry:
    # A tenant's leaf from before its key was made is sealed to the workspace's.
    candidates, closed = [private], ""
    try:
        candidates = [*_tenant_private(connection, stored.leaf.tenant, private), private]
    except BoxError as error:
        closed = error.code
    for candidate in candidates:
        try:
            payload = open_leaf(stored.sealed, candidate, stored.leaf)
        except (BoxError, LeafError) as error:
            closed = closed or error.code
        else:
            return Entry(stored.index, stored.leaf, payload)
    return Entry(stored.index, stored.leaf, closed=closed)


def _tenant_private(connection: Connection, tenant: str, private: bytes) -> list[bytes]:
    table = tables.tenant_key
    row = connection.execute(select(table).where(table.c.tenant == tenant)).first()
    if row is None:
        return []
    kept = TenantKey(row.tenant, row.key_id, row.public_key, row.wrapped_private)
    return [unwrap(kept, private)]
