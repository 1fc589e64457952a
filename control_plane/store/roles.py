"""What each login may do to the store's tables on Postgres: one table of rights. Not how logins are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from control_plane.audit.recorder import GUARDED
from control_plane.store import tables
from control_plane.store.logins import Login, Names
from control_plane.store.postgres import SCHEMA

VERSION_TABLE: Final = "alembic_version"


@dataclass(frozen=True, slots=True)
class Right:
    """What a login may do to one table. None is nothing, an empty tuple every column.

    A rule holds for each row: of those that are there (``using``), and as it is to be (``check``).
    """

    select: tuple[str, ...] | None = None
    insert: tuple[str, ...] | None = None
    insert_check: LiteralString | None = None
    update: tuple[str, ...] | None = None
    update_using: LiteralString = "true"
    update_check: LiteralString = "true"
    delete: bool = False

    @property
    def ruled(self) -> bool:
        """Whether rows are told apart."""
        return self.insert_check is not None


_READ = Right(select=())
# What a leaf says of itself; its sealed payload is nobody's to read but the auditor's.
_LEAF_OPEN = ("written", "id", "kind", "tenant", "recorded_at", "commitment", "position")
# The order among leaves is the server's to give, and a position the sequencer's.
_LEAF = tuple(c.name for c in tables.audit_leaf.columns if c.name not in ("written", "position"))

# A face proposes, and keeps its own calls; what it may write, it may write only as a face does.
FACE: Final[Mapping[str, Right]] = {
    "setting": _READ,
    "access_grant": _READ,
    "tenant": _READ,
    "subscription": _READ,
    "run_step": _READ,
    "approval": _READ,
    "backup": _READ,
    "billing_account": _READ,
    "invoice": _READ,
    "payment_attempt": _READ,
    "credit_note": _READ,
    "refund": _READ,
    "series": _READ,
    "redemption": _READ,
    "coupon_tally": _READ,
    "stack": _READ,
    "run_event": _READ,
    "database": _READ,
    "tenant_move": _READ,
    # A face asks for a pause or an end; how far a campaign is, is the worker's to say.
    "fleet_migration": Right(select=(), update=("asked", "asked_by")),
    "fleet_receipt": _READ,
    # A service says which connection it has taken up; which there is, is the worker's to say.
    "handover": Right(select=(), update=("acked_version", "acked_at", "acked_by")),
    "ledger_entry": _READ,
    "ledger_posting": _READ,
    # A reservation becomes a seat; how many there may be is decided under the tenant's lock.
    "seat": Right(select=(), insert=(), update=("reserved_until",), delete=True),
    # Events are added and never changed; what they add up to moves with them.
    "usage_event": Right(select=(), insert=()),
    "usage_tally": Right(select=(), insert=(), update=("tally",)),
    # Held by what the same transaction has read, under the tenant's lock.
    "reservation": Right(select=(), insert=(), update=("expires_at",), delete=True),
    "soft_limit_passed": Right(select=(), insert=(), update=("passed_at",), delete=True),
    # By id and digest a repeat is known. A body is sealed before it comes here, and no face's to open.
    "inbound_event": Right(
        select=("provider", "id", "digest"),
        insert=(),
        insert_check="state = 'received' AND attempts = 0 AND outcome IS NULL",
    ),
    "fence": Right(
        select=(), insert=(), insert_check="epoch = 0 AND run_id IS NULL AND data_epoch = 0"
    ),
    "call": Right(
        select=(),
        insert=(),
        insert_check="true",
        update=("effect", "settled"),
        update_using="NOT settled AND run_id IS NULL",
    ),
    "idempotency": Right(select=(), insert=(), delete=True),
    "run": Right(
        select=(),
        insert=(),
        insert_check="state = 'pending' AND approval_id IS NULL AND artifact IS NULL",
        update=("cancel_requested", "updated_at"),
        update_check="cancel_requested",
    ),
    "job": Right(insert=(), insert_check="state = 'pending'"),
    # The permits of runs have their steps' names: they are the worker's alone.
    "permit": Right(
        select=(),
        insert=(),
        insert_check="step = 'change'",
        update=("consumed_at",),
        update_using="step = 'change' AND consumed_at IS NULL",
        update_check="consumed_at IS NOT NULL",
    ),
    "tenant_key": Right(select=("tenant", "public_key"), insert=()),
    # A leaf that vouches for a row belongs to a change of that row, and no face makes one.
    "audit_leaf": Right(select=_LEAF_OPEN, insert=_LEAF, insert_check="guards::text = '[]'"),
    VERSION_TABLE: _READ,
}

AUDITOR: Final[Mapping[str, Right]] = dict.fromkeys(
    (
        "audit_leaf",
        "checkpoint",
        # The rows that leaves vouch for.
        *GUARDED,
        # An entry is vouched for with its postings.
        "ledger_posting",
        # To open payloads the workspace's key is needed besides.
        "tenant_key",
        VERSION_TABLE,
    ),
    _READ,
)

RIGHTS: Final[Mapping[Login, Mapping[str, Right]]] = {"face": FACE, "auditor": AUDITOR}


def entitle(connection: Connection, names: Names, schema: str = SCHEMA) -> None:
    """Give each login its rights and take every other; by the login that owns the tables.

    May be done again: what was given before is replaced, in the transaction that is given.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection), "rights are Postgres's"
    for statement in _statements(names, schema):
        driver.execute(statement)


def _statements(names: Names, schema: str) -> Iterator[sql.Composed]:
    where = sql.Identifier(schema)
    for login, rights in RIGHTS.items():
        role = sql.Identifier(names.role(login))
        yield _sql("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", where, role)
        yield _sql("GRANT USAGE ON SCHEMA {} TO {}", where, role)
        for name, right in rights.items():
            table = sql.Identifier(schema, name)
            yield from _granted(table, right, role)
    for name in {name for rights in RIGHTS.values() for name, r in rights.items() if r.ruled}:
        yield from _ruled(names, schema, name)


def _granted(table: sql.Identifier, right: Right, role: sql.Identifier) -> Iterator[sql.Composed]:
    given: tuple[tuple[LiteralString, tuple[str, ...] | None], ...] = (
        ("SELECT", right.select),
        ("INSERT", right.insert),
        ("UPDATE", right.update),
        ("DELETE", () if right.delete else None),
    )
    for word, columns in given:
        if columns is None:
            continue
        what: sql.Composable = sql.SQL(word)
        if columns:
            named = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
            what = _sql(word + " ({})", named)
        yield _sql("GRANT {} ON {} TO {}", what, table, role)


def _ruled(names: Names, schema: str, name: str) -> Iterator[sql.Composed]:
    # The owner is not bound by them; every other login is, so each gets a rule for what it may.
    table = sql.Identifier(schema, name)
    yield _sql("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table)
    for login, rights in RIGHTS.items():
        right, role = rights.get(name, Right()), sql.Identifier(names.role(login))
        for word, rule in _rules(right).items():
            policy = sql.Identifier(f"{login}_{word.lower()}")
            yield _sql("DROP POLICY IF EXISTS {} ON {}", policy, table)
            if rule is not None:
                yield _sql(
                    "CREATE POLICY {} ON {} FOR {} TO {} {}",
                    policy,
                    table,
                    sql.SQL(word),
                    role,
                    rule,
                )


def _rules(right: Right) -> dict[LiteralString, sql.Composable | None]:
    rules: dict[LiteralString, sql.Composable | None] = dict.fromkeys(
        ("SELECT", "INSERT", "UPDATE")
    )
    if right.select is not None:
        rules["SELECT"] = sql.SQL("USING (true)")
    if right.insert is not None:
        rules["INSERT"] = _sql("WITH CHECK ({})", sql.SQL(right.insert_check or "true"))
    if right.update is not None:
        rules["UPDATE"] = _sql(
            "USING ({}) WITH CHECK ({})",
            sql.SQL(right.update_using),
            sql.SQL(right.update_check),
        )
    return rules


def _sql(statement: LiteralString, *parts: sql.Composable) -> sql.Composed:
    return sql.SQL(statement).format(*parts)
