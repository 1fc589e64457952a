"""Writes audit leaves into the store's transaction that is given. Gives no position: the sequencer does."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, select

from control_plane.audit.leaf import Guard, make_leaf, row_digest
from control_plane.domain.canonical import Json
from control_plane.ports import Clock, Ids
from control_plane.secrets.tenant_keys import new_tenant_key
from control_plane.store import tables

# The rows whose every change a leaf vouches for, with the column that names the row.
GUARDED: Mapping[str, Table] = {
    table.name: table
    for table in (
        tables.tenant,
        tables.subscription,
        tables.grant,
        tables.approver,
        tables.approval,
        tables.setting,
    )
}
_KEYS: Mapping[str, str] = {
    "tenant": "id",
    "subscription": "tenant",
    "access_grant": "id",
    "approver": "key_id",
    "approval": "id",
    "setting": "name",
}


class LeafRecorder:
    """Seals each payload to its tenant's key, or to the workspace's where it is about none.

    Needs public keys only, so a face can write leaves that it cannot read.
    """

    def __init__(self, workspace_public: bytes, clock: Clock, ids: Ids) -> None:
        self._workspace_public = workspace_public
        self._clock = clock
        self._ids = ids

    def record(
        self,
        connection: Connection,
        kind: str,
        tenant: str,
        payload: Mapping[str, Json],
        guards: tuple[tuple[str, str], ...] = (),
    ) -> str:
        """Write one leaf; ``guards`` name (table, key) of rows as they stand in this transaction."""
        leaf, sealed = make_leaf(
            kind,
            tenant,
            payload,
            leaf_id=self._ids.new(),
            salt=self._ids.new(),
            recorded_at=self._clock.now(),
            public_key=self._public_key(connection, tenant),
            guards=[guard(connection, table, key) for table, key in guards],
        )
        values = leaf.model_dump(mode="json")
        connection.execute(tables.audit_leaf.insert().values(sealed=sealed, **values))
        return leaf.id

    def _public_key(self, connection: Connection, tenant: str) -> bytes:
        if not tenant:
            return self._workspace_public
        table = tables.tenant_key
        statement = select(table.c.public_key).where(table.c.tenant == tenant)
        found: bytes | None = connection.execute(statement).scalar()
        if found is not None:
            return found
        known = select(tables.fence.c.tenant).where(tables.fence.c.tenant == tenant)
        if connection.execute(known).first() is None:
            # A name that no run has ever held gets no key: else any caller could fill the table.
            return self._workspace_public
        made = new_tenant_key(tenant, self._workspace_public)
        connection.execute(
            table.insert().values(
                tenant=tenant,
                key_id=made.key_id,
                public_key=made.public,
                wrapped_private=made.wrapped_private,
            )
        )
        return made.public


def guard(connection: Connection, table_name: str, key: str) -> Guard:
    """A guarded row as it stands now; its digest is None when it is not there."""
    table = GUARDED[table_name]
    statement = select(table).where(table.c[_KEYS[table_name]] == key)
    row = connection.execute(statement).mappings().first()
    digest = None if row is None else row_digest(dict(row))
    return Guard(table=table_name, key=key, digest=digest)


def guarded_rows(connection: Connection) -> dict[tuple[str, str], str]:
    """The digest of every guarded row as it stands now, for verification."""
    found: dict[tuple[str, str], str] = {}
    for name, table in GUARDED.items():
        for row in connection.execute(select(table)).mappings():
            found[(name, str(row[_KEYS[name]]))] = row_digest(dict(row))
    return found
