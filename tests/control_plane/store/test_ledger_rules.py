"""What both databases hold the ledger to, whoever writes. Not what our own code posts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import IntegrityError

from control_plane.domain.money import MINOR_MAX
from control_plane.ports import Store
from control_plane.store.ledger_tables import ledger_entry, ledger_posting
from tests.support.ledgers import ledger_rows, opened_store

KEPT = [
    "UPDATE ledger_entry SET tenant = 'globex'",
    "UPDATE ledger_entry SET occurred_at = occurred_at",
    "DELETE FROM ledger_entry",
    "UPDATE ledger_posting SET amount_minor = amount_minor + 1",
    "UPDATE ledger_posting SET amount_minor = -amount_minor",
    "DELETE FROM ledger_posting",
    "INSERT INTO ledger_posting SELECT entry, 'cash', currency, 1 FROM ledger_posting LIMIT 1",
    """INSERT INTO ledger_entry SELECT * FROM ledger_entry WHERE true
    ON CONFLICT (id) DO UPDATE SET tenant = 'globex'""",
    """INSERT INTO ledger_posting SELECT * FROM ledger_posting WHERE true
    ON CONFLICT (entry, account, currency) DO UPDATE SET amount_minor = 1""",
]
ONLY = {
    "sqlite": [
        """INSERT OR REPLACE INTO ledger_entry
        SELECT id, 'globex', occurred_at, cause_kind, cause_reference FROM ledger_entry""",
        """REPLACE INTO ledger_entry
        SELECT 'other', tenant, occurred_at, cause_kind, cause_reference FROM ledger_entry""",
        """INSERT OR REPLACE INTO ledger_posting
        SELECT entry, account, currency, 1 FROM ledger_posting""",
        "UPDATE OR REPLACE ledger_posting SET account = 'cash'",
    ],
    "postgres": [
        "TRUNCATE ledger_posting",
        "TRUNCATE ledger_entry CASCADE",
        """MERGE INTO ledger_posting AS p USING ledger_entry AS e ON p.entry = e.id
        WHEN MATCHED THEN DELETE""",
    ],
}


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with opened_store(engine, tmp_path, request) as opened:
        yield opened


def test_the_database_lets_nobody_change_or_remove_a_row(store: Store, engine: str) -> None:
    """Asked by the login that owns the tables: there is none that may do more."""
    with store.write() as connection:
        add(connection, [("cash_clearing", "EUR", 700), ("receivable", "EUR", -700)])
    with store.read() as connection:
        before = ledger_rows(connection)
    for forbidden in KEPT + ONLY[engine]:
        with pytest.raises(IntegrityError, match="append only"), store.write() as connection:
            connection.execute(text(forbidden))
        with store.read() as connection:
            assert ledger_rows(connection) == before, forbidden


UNBALANCED = [
    [],
    [("cash", "EUR", 1)],
    [("cash", "EUR", 1), ("revenue", "EUR", -2)],
    [("cash", "EUR", 1), ("revenue", "USD", -1)],
    [("cash", "EUR", 1), ("revenue", "EUR", -1), ("cash", "USD", 1)],
]


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("sides", UNBALANCED)
def test_the_database_takes_no_entry_that_does_not_balance(
    store: Store, sides: list[tuple[str, str, int]]
) -> None:
    with (
        pytest.raises(IntegrityError, match="not balanced"),
        store.write() as connection,
    ):
        add(connection, sides)
    with store.read() as connection:
        assert ledger_rows(connection) == []


def test_the_database_takes_what_balances_in_each_currency_and_no_posting_of_nothing(
    store: Store,
) -> None:
    sides = [("cash", "EUR", MINOR_MAX), ("revenue", "EUR", -MINOR_MAX)]
    with (
        pytest.raises(IntegrityError, match="ck_ledger_posting_amount_minor"),
        store.write() as connection,
    ):
        add(connection, [*sides, ("cash", "USD", 0)])
    with store.write() as connection:
        add(connection, sides)
    with store.read() as connection:
        assert len(ledger_rows(connection)) == 3


def test_postings_without_their_entry_are_not_kept(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        add(connection, [("cash", "EUR", 1), ("revenue", "EUR", -1)], entry=False)
    with store.read() as connection:
        assert ledger_rows(connection) == []


def add(connection: Connection, sides: list[tuple[str, str, int]], *, entry: bool = True) -> None:
    """Rows as no code of ours would write them."""
    for account, currency, amount in sides:
        values = {"account": account, "currency": currency, "amount_minor": amount}
        connection.execute(insert(ledger_posting).values(entry="e", **values))
    if entry:
        cause = {"cause_kind": "written_off", "cause_reference": "in_1"}
        values = {"tenant": "acme", "occurred_at": "2026-01-01T00:00:00.000000Z", **cause}
        connection.execute(insert(ledger_entry).values(id="e", **values))
