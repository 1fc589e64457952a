"""Writes audit leaves into the store's transaction that is given. Gives no position: the sequencer does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, Table, bindparam, select
from sqlalchemy.exc import IntegrityError

from control_plane.audit.guarded import (
    CATALOG_TABLE,
    KEY_TABLE,
    RowKey,
    after,
    catalog_guard,
    key_guard,
    row_guard,
)
from control_plane.audit.leaf import Guard, make_leaf, row_digest
from control_plane.domain.canonical import Json
from control_plane.ports import Clock, Ids
from control_plane.secrets.tenant_keys import new_tenant_key
from control_plane.store import (
    billing_tables,
    coupon_tables,
    database_tables,
    ledger_tables,
    tables,
    webhook_tables,
)

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
        tables.backup,
        database_tables.database,
        database_tables.data_key,
        database_tables.handover,
        ledger_tables.ledger_entry,
        billing_tables.billing_account,
        billing_tables.invoice,
        billing_tables.credit_note,
        coupon_tables.redemption,
        webhook_tables.webhook_endpoint,
    )
}
_KEYS: Mapping[str, str] = {
    "tenant": "id",
    "subscription": "tenant",
    "access_grant": "id",
    "approver": "key_id",
    "approval": "id",
    "setting": "name",
    "backup": "id",
    "database": "id",
    "data_key": "id",
    "handover": "tenant",
    "ledger_entry": "id",
    "billing_account": "tenant",
    "invoice": "id",
    "credit_note": "id",
    "redemption": "id",
    "webhook_endpoint": "id",
}
# Rows that are nothing without a guarded one are told in its digest: the column that names it.
_PARTS: Mapping[str, Column[str]] = {"ledger_entry": ledger_tables.ledger_posting.c.entry}

# A column that came later is nothing to a leaf of before, as long as it is empty.
_ADDED: Mapping[str, frozenset[str]] = {
    "tenant": frozenset({"cloud", "server", "slot"}),
    "backup": frozenset({"kind", "key_version", "removed_at"}),
}

# What a face may write of a row: its leaves vouch for none, so the guard says nothing of it.
_FACES: Mapping[str, frozenset[str]] = {
    "handover": frozenset({"acked_version", "acked_at", "acked_by"})
}

# Files cannot be read in a transaction: what the leaf says of them is what these settings say,
# and verification holds that against the files themselves.
KEYS_SETTING: Final = "keys.public"
CATALOG_SETTING: Final = "catalog.digest"

# Made once: to build a statement costs more than to run it.
_PUBLIC_KEY: Final = select(tables.tenant_key.c.public_key).where(
    tables.tenant_key.c.tenant == bindparam("tenant")
)
_HELD: Final = select(tables.fence.c.tenant).where(tables.fence.c.tenant == bindparam("tenant"))

# Of a row that no longer reads; no digest is like it, so it differs from whatever a leaf said.
_UNREADABLE: Final = "unreadable"


class LeafRecorder:
    """Seals each payload to its tenant's key, or to the workspace's where it is about none.

    Needs public keys only, so a face can write leaves that it cannot read.
    """

    def __init__(self, workspace_public: bytes, clock: Clock, ids: Ids) -> None:
        self.workspace_public = workspace_public
        self._clock = clock
        self._ids = ids

    def record(
        self,
        connection: Connection,
        kind: str,
        tenant: str,
        payload: Mapping[str, Json],
        guards: tuple[tuple[str, str], ...] = (),
        found: tuple[Guard, ...] = (),
        *,
        only_moved: bool = False,
    ) -> str:
        """Write one leaf; ``guards`` name (table, key) of rows as they stand in this transaction.

        ``found`` are guards of them that were taken before the change: one that is not among these
        was not there. With ``only_moved`` nothing is said of those that stand as they were found.
        """
        stood = {(one.table, one.key): one for one in found}
        changes = [
            (stood.get((now.table, now.key)) or row_guard(now.table, now.key, None), now)
            for now in guards_now(connection, guards)
        ]
        vouched = [
            after(then, now) for then, now in changes if not only_moved or now.digest != then.digest
        ]
        values = self.prepared(kind, tenant, payload, self.public_key(connection, tenant), vouched)
        connection.execute(tables.audit_leaf.insert(), values)
        return str(values["id"])

    def prepared(
        self,
        kind: str,
        tenant: str,
        payload: Mapping[str, Json],
        public_key: bytes,
        guards: Sequence[Guard] = (),
    ) -> dict[str, object]:
        """The row of a leaf that is yet to be written."""
        leaf, sealed = make_leaf(
            kind,
            tenant,
            payload,
            leaf_id=self._ids.new(),
            salt=self._ids.new(),
            recorded_at=self._clock.now(),
            public_key=public_key,
            guards=guards,
        )
        return {"sealed": sealed, **leaf.model_dump(mode="json")}

    def known_key(self, connection: Connection, tenant: str) -> bytes | None:
        """The key that a tenant's leaves are sealed to; None where its first leaf is to make one."""
        if not tenant:
            return self.workspace_public
        found: bytes | None = connection.execute(_PUBLIC_KEY, {"tenant": tenant}).scalar()
        if found is not None:
            return found
        # A name that no run has ever held gets no key: else any caller could fill the table.
        held = connection.execute(_HELD, {"tenant": tenant}).first()
        return None if held else self.workspace_public

    def public_key(self, connection: Connection, tenant: str) -> bytes:
        """The same, made now where there is none yet."""
        found = self.known_key(connection, tenant)
        if found is not None:
            return found
        table = tables.tenant_key
        made = new_tenant_key(tenant, self.workspace_public)
        new = table.insert().values(
            tenant=tenant,
            key_id=made.key_id,
            public_key=made.public,
            wrapped_private=made.wrapped_private,
        )
        try:
            with connection.begin_nested():
                connection.execute(new)
        except IntegrityError:
            # A reader's leaf waits for no lock, so two of them may come to this at once.
            earlier: bytes = connection.execute(_PUBLIC_KEY, {"tenant": tenant}).scalar_one()
            return earlier
        return made.public


def guard(connection: Connection, table_name: str, key: str) -> Guard:
    """What is guarded as it stands now; its digest is None when it is not there.

    Besides a row, that is a public key by its name, or the applied catalog: see `guarded.py`.
    """
    return guards_now(connection, ((table_name, key),))[0]


def guards_now(connection: Connection, named: Sequence[RowKey]) -> list[Guard]:
    """The same of many, in their order: each table is asked once, each digest taken once."""
    asked: dict[str, list[str]] = {}
    for table_name, key in named:
        asked.setdefault(table_name, []).append(key)
    found = {
        (table_name, one.key): one
        for table_name, keys in asked.items()
        for one in _guards(connection, table_name, keys)
    }
    return [found[row] for row in named]


def _guards(connection: Connection, table_name: str, keys: Sequence[str]) -> list[Guard]:
    if table_name not in GUARDED:
        return [_file_guard(connection, table_name, key) for key in keys]
    column = _KEYS[table_name]
    stand = connection.execute(_keyed(table_name), {"keys": keys}).mappings()
    rows = {str(row[column]): _counted(table_name, row) for row in stand}
    parts = _parts(connection, table_name, [*rows]) if rows else {}
    told = {key: {**row, **parts.get(key, {})} for key, row in rows.items()}
    return [row_guard(table_name, key, told.get(key)) for key in keys]


@cache
def _keyed(table_name: str) -> Select[Any]:
    table = GUARDED[table_name]
    return select(table).where(table.c[_KEYS[table_name]].in_(bindparam("keys", expanding=True)))


def _file_guard(connection: Connection, table_name: str, key: str) -> Guard:
    if table_name == KEY_TABLE:
        public = _setting(connection, KEYS_SETTING)
        text = public.get(key) if isinstance(public, dict) else None
        return key_guard(key, bytes.fromhex(text) if isinstance(text, str) else None)
    if table_name != CATALOG_TABLE:
        raise KeyError(table_name)
    applied = _setting(connection, CATALOG_SETTING)
    return catalog_guard(key, applied if isinstance(applied, str) else None)


def guarded_rows(connection: Connection) -> dict[RowKey, str]:
    """The digest of every guarded row as it stands now, for verification.

    A row that no longer reads has a digest that no leaf can have said.
    """
    return {
        (name, key): digest
        for name, table in GUARDED.items()
        for key, digest in _digests(connection, table, _KEYS[name]).items()
    }


def _digests(connection: Connection, table: Table, column: str) -> dict[str, str]:
    try:
        rows = connection.execute(select(table)).mappings()
        parts = _parts(connection, table.name)
        return {
            str(row[column]): _digest(
                {**_counted(table.name, row), **parts.get(str(row[column]), {})}
            )
            for row in rows
        }
    except ValueError:
        # One row's JSON is broken and ends the reading: none of this table is vouched for.
        names = connection.execute(select(table.c[column])).scalars()
        return {str(name): _UNREADABLE for name in names}


def _counted(table_name: str, row: Mapping[Any, Any]) -> dict[str, object]:
    """What of a row its digest covers."""
    added, faces = _ADDED.get(table_name, frozenset()), _FACES.get(table_name, frozenset())
    return {
        name: _told(value)
        for name, value in row.items()
        if name not in faces and (value is not None or name not in added)
    }


def _told(value: object) -> object:
    # What is sealed stands for itself: whoever puts another secret in its place is found out.
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value


def _parts(
    connection: Connection, name: str, keys: Sequence[str] | None = None
) -> dict[str, dict[str, object]]:
    """What rows of another table add to each guarded row, or to those of these keys."""
    column = _PARTS.get(name)
    if column is None:
        return {}
    part = column.table
    given = {} if keys is None else {"keys": keys}
    found: dict[str, list[dict[str, object]]] = {}
    for row in connection.execute(_part_rows(name, keyed=bool(given)), given).mappings():
        found.setdefault(str(row[column]), []).append(dict(row))
    return {one: {part.name: parts} for one, parts in found.items()}


@cache
def _part_rows(name: str, *, keyed: bool) -> Select[Any]:
    column = _PARTS[name]
    statement = select(column.table).order_by(*column.table.primary_key)
    return statement.where(column.in_(bindparam("keys", expanding=True))) if keyed else statement


def _digest(row: Mapping[str, object]) -> str:
    try:
        return row_digest(row)
    except (TypeError, ValueError):
        return _UNREADABLE


def _setting(connection: Connection, name: str) -> Json:
    table = tables.setting
    found: Json = connection.execute(select(table.c.value).where(table.c.name == name)).scalar()
    return found
