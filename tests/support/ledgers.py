"""Stores for a ledger on both engines, and random events of billing as its entries. Holds no test."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest
from sqlalchemy import Connection, select

from control_plane.billing import ledger
from control_plane.billing.ledger import Entry, Occurrence
from control_plane.ports import Store
from control_plane.store.ledger_tables import ledger_entry, ledger_posting
from control_plane.store.postgres import PostgresStore
from control_plane.store.sqlite import SqliteStore
from tests.support.migrated import SCHEMA, migrated_postgres, migrated_sqlite
from tests.support.postgres import Postgres

TENANTS: Final = ("acme", "globex", "initech")
CURRENCIES: Final = ("USD", "EUR", "JPY", "BHD")
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SPAN_S = 400 * 86_400


@contextmanager
def opened_store(engine: str, folder: Path, request: pytest.FixtureRequest) -> Generator[Store]:
    """A migrated store on "sqlite" in that folder, or on "postgres" in a database of its own."""
    if engine == "sqlite":
        file = migrated_sqlite(folder / "store.db")
        with closing(SqliteStore(file, busy_timeout_ms=20_000)) as opened:
            yield opened
        return
    server: Postgres = request.getfixturevalue("postgres")
    with (
        migrated_postgres(server) as url,
        closing(PostgresStore(url, schema=SCHEMA, lock_ms_max=20_000)) as opened,
    ):
        yield opened


def ledger_rows(connection: Connection) -> list[tuple[object, ...]]:
    """Every row of the ledger, entries first."""
    return [
        tuple(row)
        for table in (ledger_entry, ledger_posting)
        for row in connection.execute(select(table).order_by(*table.primary_key))
    ]


def occurrence(random: Random, reference: str) -> Occurrence:
    """Of some tenant, at some instant, in some currency."""
    return Occurrence(
        tenant=random.choice(TENANTS),
        reference=reference,
        occurred_at=BEGAN + timedelta(seconds=random.randrange(_SPAN_S)),
        currency=random.choice(CURRENCIES),
    )


def random_entries(random: Random, count: int) -> list[Entry]:
    """So many entries, each of another event; some of them reverse an earlier one."""
    made: list[Entry] = []
    reversible: list[Entry] = []
    while len(made) < count:
        if reversible and random.random() < 0.1:
            undone = reversible.pop(random.randrange(len(reversible)))
            made.append(ledger.reverse(undone, undone.occurred_at + timedelta(days=1)))
            continue
        entry = random.choice(_EVENTS)(random, occurrence(random, f"event-{len(made)}"))
        if entry is not None:
            made.append(entry)
            reversible.append(entry)
    return made


def _amount(random: Random, most: int = 10**9, least: int = 1) -> int:
    # Small ones are as frequent as large ones, and the bounds come up.
    return min(most, random.choice((least, most, random.randint(least, max(least, most)))))


def _invoice(random: Random, of: Occurrence) -> Entry | None:
    net, tax = _amount(random, least=0), _amount(random, 10**8, 0)
    return ledger.invoice_finalised(
        of,
        net_minor=net,
        tax_minor=tax,
        deferred_minor=_amount(random, net, 0),
        credit_minor=_amount(random, net + tax, 0),
    )


def _payment(random: Random, of: Occurrence) -> Entry:
    amount = _amount(random)
    allocated = random.choice((None, _amount(random, amount, 0)))
    return ledger.payment_settled(
        of,
        amount_minor=amount,
        allocated_minor=allocated,
        into=random.choice(("cash", "cash_clearing")),
    )


def _refund(random: Random, of: Occurrence) -> Entry:
    return ledger.payment_refunded(
        of,
        amount_minor=_amount(random),
        owed=random.choice(("refunds", "credit_balance")),
        out_of=random.choice(("cash", "cash_clearing")),
    )


def _credit_note(random: Random, of: Occurrence) -> Entry:
    net, tax = _amount(random), _amount(random, 10**8, 0)
    receivable = _amount(random, net + tax, 0)
    refund = _amount(random, net + tax - receivable, 0)
    return ledger.credit_note_issued(
        of,
        net_minor=net,
        tax_minor=tax,
        deferred_minor=_amount(random, net, 0),
        receivable_minor=receivable,
        refund_minor=refund,
        credit_minor=net + tax - receivable - refund,
    )


def _credit(random: Random, of: Occurrence) -> Entry:
    return ledger.credit_granted(
        of,
        amount_minor=_amount(random),
        out_of=random.choice(("revenue", "deferred_revenue")),
    )


_EVENTS: Final[tuple[Callable[[Random, Occurrence], Entry | None], ...]] = (
    _invoice,
    _payment,
    _refund,
    _credit_note,
    _credit,
    lambda random, of: ledger.credit_applied(of, amount_minor=_amount(random)),
    lambda random, of: ledger.written_off(of, amount_minor=_amount(random)),
    lambda random, of: ledger.revenue_recognised(of, amount_minor=_amount(random)),
    lambda random, of: ledger.payout_received(of, amount_minor=_amount(random)),
)
