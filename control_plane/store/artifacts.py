"""Sealed plan artifacts in our store: the adapter of the port Artifacts. Knows no plan."""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import Connection, select

from control_plane.domain.canonical import canonical
from control_plane.errors import Refused
from control_plane.ports import Store
from control_plane.secrets.box import BoxError, open_box, seal
from control_plane.store import tables


class SealedArtifacts:
    """Sealed to the workspace's key: a face could write one, only the worker opens it."""

    def __init__(self, store: Store, public_key: bytes, private_key: bytes) -> None:
        self._store = store
        self._public_key = public_key
        self._private_key = private_key

    def put(self, connection: Connection, run_id: str, content: bytes, expires_at: str) -> str:
        """Seal and keep; the reference names the content and the run."""
        reference = sha256(run_id.encode() + b"\0" + content).hexdigest()
        table = tables.artifact
        connection.execute(table.delete().where(table.c.run_id == run_id))
        sealed = seal(self._public_key, content, _context(run_id, expires_at))
        connection.execute(
            table.insert().values(id=reference, run_id=run_id, sealed=sealed, expires_at=expires_at)
        )
        return reference

    def get(self, reference: str, now: str) -> bytes:
        """Open; Refused when it is gone, too old or not what was sealed."""
        table = tables.artifact
        with self._store.read() as connection:
            row = connection.execute(select(table).where(table.c.id == reference)).first()
        if row is None:
            raise Refused("The plan artifact is gone.", code="artifact_missing")
        if row.expires_at <= now:
            raise Refused("The plan artifact has expired.", code="artifact_expired")
        context = _context(row.run_id, row.expires_at)
        try:
            content = open_box(self._private_key, row.sealed, context)
        except BoxError as error:
            raise Refused("The plan artifact was altered.", code="artifact_altered") from error
        if sha256(row.run_id.encode() + b"\0" + content).hexdigest() != reference:
            raise Refused("The plan artifact was altered.", code="artifact_altered")
        return content

    def drop(self, connection: Connection, reference: str) -> None:
        """Forget it."""
        table = tables.artifact
        connection.execute(table.delete().where(table.c.id == reference))

    def sweep(self, connection: Connection, now: str) -> int:
        """Forget every expired one; how many it was."""
        table = tables.artifact
        return connection.execute(table.delete().where(table.c.expires_at <= now)).rowcount


def _context(run_id: str, expires_at: str) -> bytes:
    # The expiry too: else whoever can write the row could let an old plan live on.
    return canonical(["plan artifact", run_id, expires_at])
