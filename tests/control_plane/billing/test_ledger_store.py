"""The ledger as it is kept, on both engines: added once, never changed, summed exactly. Not what an event moves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Connection, Executable, func, select, text, update

from control_plane.audit.note import verifier_key_of
from control_plane.audit.recorder import LeafRecorder, guarded_rows
from control_plane.audit.report import Report
from control_plane.audit.sequencer import Sequencer
from control_plane.audit.verify import verify
from control_plane.billing import ledger
from control_plane.billing.ledger import Entry, Occurrence, fold
from control_plane.billing.ledger_store import (
    Page,
    balance,
    balances,
    find,
    guard_of,
    post,
    statement,
    trial_balance,
)
from control_plane.domain.money import Money
from control_plane.errors import BadInput, Refused, Unavailable
from control_plane.ports import Store
from control_plane.secrets.box import new_keypair
from control_plane.store.ledger_tables import ledger_entry, ledger_posting
from control_plane.store.log import StoredLog
from control_plane.store.tables import fence
from server.clock import SystemClock
from server.ids import RandomIds
from tests.support.ledgers import (
    BEGAN,
    CURRENCIES,
    TENANTS,
    ledger_rows,
    opened_store,
    random_entries,
)
from tests.support.waiting import until

AT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
OF = Occurrence(tenant="acme", reference="in_1", occurred_at=AT, currency="EUR")
PAID = ledger.payment_settled(OF, amount_minor=700, allocated_minor=500)
ALWAYS = (BEGAN - timedelta(days=1), BEGAN + timedelta(days=1000))
DEADLINE_S = 60
SEED = bytes(range(32))
ORIGIN = "paybill.example/audit"


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with opened_store(engine, tmp_path, request) as opened:
        yield opened


def post_all(store: Store, entries: list[Entry]) -> None:
    with store.write() as connection:
        assert all(post(connection, one) for one in entries)


def lift_rules(connection: Connection) -> None:
    """What an intruder who owns the tables does first."""
    if connection.dialect.name == "sqlite":
        named = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for name in connection.execute(named).scalars().all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        return
    for table in ("ledger_entry", "ledger_posting"):
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))


def test_a_posted_entry_is_found_as_it_was_made(store: Store) -> None:
    entries = random_entries(Random(1), 40)
    post_all(store, entries)
    with store.read() as connection:
        assert [find(connection, one.id) for one in entries] == entries
        assert find(connection, PAID.id) is None


def test_an_entry_told_again_is_posted_once_at_its_first_instant(store: Store) -> None:
    later = PAID.model_copy(update={"occurred_at": AT + timedelta(hours=1)})
    with store.write("acme") as connection:
        assert post(connection, PAID)
        assert not post(connection, PAID)
    with store.write("acme") as connection:
        assert not post(connection, later)
        assert find(connection, PAID.id) == PAID
        assert len(ledger_rows(connection)) == 1 + len(PAID.postings)


@pytest.mark.parametrize(
    "other",
    [
        ledger.payment_settled(OF, amount_minor=700, allocated_minor=501),
        ledger.payment_settled(OF, amount_minor=700),
        ledger.payment_settled(OF, amount_minor=700, allocated_minor=500, into="cash"),
        ledger.payment_settled(
            OF.model_copy(update={"currency": "USD"}), amount_minor=700, allocated_minor=500
        ),
    ],
)
def test_the_same_event_with_other_postings_is_refused_and_changes_nothing(
    store: Store, other: Entry
) -> None:
    with store.write("acme") as connection:
        post(connection, PAID)
        before = ledger_rows(connection)
        with pytest.raises(Refused) as told:
            post(connection, other)
        assert told.value.code == "ledger_altered"
        assert ledger_rows(connection) == before


def test_entries_go_with_the_transaction_that_posted_them(store: Store) -> None:
    def change() -> None:
        with store.write("acme") as connection:
            post(connection, PAID)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    with store.read() as connection:
        assert ledger_rows(connection) == []


def test_many_that_post_the_same_event_at_once_post_it_once(store: Store) -> None:
    """Half of them tell it with other amounts: whoever comes first, the others see it."""
    told = [PAID, ledger.payment_settled(OF, amount_minor=9)] * 4
    begun, said = threading.Barrier(len(told), timeout=DEADLINE_S), list[tuple[Entry, object]]()

    def tell(entry: Entry) -> None:
        begun.wait()
        try:
            with store.append() as connection:
                said.append((entry, post(connection, entry)))
        except Refused as refused:
            said.append((entry, refused.code))

    threads = [threading.Thread(target=tell, args=(entry,)) for entry in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    ((first, _),) = [one for one in said if one[1] is True]
    same = [answer for entry, answer in said if entry == first and answer is not True]
    others = [answer for entry, answer in said if entry != first]
    assert (same, others) == ([False] * 3, ["ledger_altered"] * 4)
    with store.read() as connection:
        assert find(connection, PAID.id) == first
        assert len(ledger_rows(connection)) == 1 + len(first.postings)


@pytest.mark.parametrize("engine", ["postgres"])
@pytest.mark.parametrize("kept", [True, False])
def test_who_posts_an_event_that_another_is_posting_waits_for_how_that_ends(
    store: Store, kept: bool
) -> None:
    said: list[bool] = []

    def tell() -> None:
        with store.append() as connection:
            said.append(post(connection, PAID))

    def tell_first(second: threading.Thread) -> None:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with store.append() as connection:
            post(connection, PAID)
            second.start()
            until(lambda: connection.execute(waiting).scalar_one() > 0, "the second waits", 20)
            if not kept:
                raise ZeroDivisionError

    second = threading.Thread(target=tell)
    with nullcontext() if kept else pytest.raises(ZeroDivisionError):
        tell_first(second)
    second.join(DEADLINE_S)
    assert said == [not kept]
    with store.read() as connection:
        assert find(connection, PAID.id) == PAID


def hold(store: Store, entries: list[Entry]) -> None:
    """Every balance is the fold of the entries, and all of them sum to zero."""
    with store.read() as connection:
        for tenant in TENANTS:
            own = [one for one in entries if one.tenant == tenant]
            folded = fold(own)
            assert balances(connection, tenant) == folded
            for account in ("receivable", "credit_balance", "cash"):
                for currency in CURRENCIES:
                    minor = folded.get((account, currency), 0)
                    found = balance(connection, tenant, account, currency)
                    assert found == Money(minor=minor, currency=currency)
        totals = trial_balance(connection)
    assert {(one.account, one.currency): one.amount_minor for one in totals} == fold(entries)
    sums: Counter[str] = Counter()
    for one in totals:
        sums[one.currency] += one.amount_minor
    assert not any(sums.values())


def test_balances_are_the_fold_of_the_postings_after_every_event(store: Store) -> None:
    entries = random_entries(Random(2), 30)
    for count, entry in enumerate(entries, 1):
        with store.write(entry.tenant) as connection:
            assert post(connection, entry)
        hold(store, entries[:count])


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(3))
def test_a_long_random_life_balances_whatever_is_told_again_and_given_up(
    store: Store, seed: int
) -> None:
    """Some transactions fail as a whole, and some events are told again much later."""
    random = Random(seed)
    told, kept = random_entries(random, 2000), list[Entry]()
    while told:
        batch, told = told[:50], told[50:]
        again = random.sample(kept, min(5, len(kept)))
        fails = random.random() < 0.1
        try:
            with store.write() as connection:
                assert all(post(connection, one) for one in batch)
                assert not any(post(connection, one) for one in again)
                assert not fails
        except AssertionError:
            assert fails
            # What did not come to stand is told later.
            told += [one for one in batch if random.random() < 0.5]
        else:
            kept += batch
        if random.random() < 0.1:
            hold(store, kept)
    assert len(kept) > 1600
    hold(store, kept)


def test_a_statement_tells_each_entry_once_in_its_order_page_by_page(store: Store) -> None:
    entries = random_entries(Random(3), 60)
    # Of the same instant, so that only the ids tell where a page ends.
    entries += [
        ledger.written_off(OF.model_copy(update={"reference": f"same-{n}"}), amount_minor=n + 1)
        for n in range(10)
    ]
    post_all(store, entries)
    own = sorted(
        (one for one in entries if one.tenant == "acme"), key=lambda one: (one.occurred_at, one.id)
    )
    with store.read() as connection:
        for size in (1, 3, len(own) - 1, len(own), 1000):
            seen, after, pages = list[Entry](), None, 0
            while pages == 0 or after is not None:
                found = statement(connection, "acme", *ALWAYS, Page(size, after))
                assert len(found.entries) <= size
                seen += found.entries
                after, pages = found.after, pages + 1
            assert seen == own
            assert pages == -(-len(own) // size)
        assert statement(connection, "nobody", *ALWAYS) == ((), None)


def test_a_statement_begins_with_its_first_instant_and_ends_before_its_last(store: Store) -> None:
    entries = random_entries(Random(4), 60)
    post_all(store, entries)
    own = sorted(one.occurred_at for one in entries if one.tenant == "acme")
    since, until_ = own[3], own[-3]
    with store.read() as connection:
        inside = statement(connection, "acme", since, until_).entries
        opening = balances(connection, "acme", since)
        closing_ = balances(connection, "acme", until_)
    assert [one.occurred_at for one in inside] == [at for at in own if since <= at < until_]
    moved = Counter(dict(opening))
    for key, amount in fold(inside).items():
        moved[key] += amount
    assert {key: amount for key, amount in moved.items() if amount} == closing_


@pytest.mark.parametrize("size", [0, -1, 1001])
@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_page_has_bounds(store: Store, size: int) -> None:
    with store.read() as connection, pytest.raises(BadInput) as told:
        statement(connection, "acme", *ALWAYS, Page(size))
    assert told.value.field == "size"


@pytest.mark.slice_of(3)
@pytest.mark.parametrize(
    "altered",
    [
        update(ledger_posting).values(amount_minor=ledger_posting.c.amount_minor + 1),
        update(ledger_posting).values(account=ledger_posting.c.account + "s"),
        update(ledger_entry).values(cause_reference="in_2"),
        update(ledger_entry).values(occurred_at="2026"),
        update(ledger_entry).values(occurred_at="2026-01-01T00:00:00"),
        update(ledger_entry).values(tenant="globex"),
    ],
)
def test_an_entry_that_somebody_altered_is_not_shown(store: Store, altered: Executable) -> None:
    post_all(store, [PAID])
    with store.write() as connection:
        lift_rules(connection)
        connection.execute(altered)
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one() == 1
        with pytest.raises(Unavailable) as told:
            find(connection, PAID.id)
    assert told.value.code == "ledger_broken"


def verified(store: Store) -> Report:
    sequencer = Sequencer(StoredLog(store), SEED, ORIGIN, lambda: AT)
    while sequencer.step():
        pass
    with store.read() as connection:
        standing = guarded_rows(connection)
    return verify(StoredLog(store), verifier_key_of(ORIGIN, SEED).text(), rows=standing)


@pytest.mark.slice_of(2)
@pytest.mark.parametrize(
    "altered",
    [
        None,
        update(ledger_posting).values(amount_minor=-ledger_posting.c.amount_minor),
        update(ledger_entry).values(occurred_at="2026-01-01T00:00:00.000000Z"),
        ledger_posting.delete(),
    ],
)
def test_the_log_vouches_for_entries_with_their_postings(
    store: Store, altered: Executable | None
) -> None:
    recorder = LeafRecorder(new_keypair()[1], SystemClock(), RandomIds())
    with store.write("acme") as connection:
        connection.execute(fence.insert().values(tenant="acme", epoch=1))
        post(connection, PAID)
        recorder.record(connection, "payment.settled", "acme", {}, (guard_of(PAID),))
    assert verified(store).intact
    with store.write() as connection:
        if altered is None:
            post(connection, ledger.reverse(PAID, AT))
        else:
            lift_rules(connection)
            connection.execute(altered)
    assert not verified(store).intact
