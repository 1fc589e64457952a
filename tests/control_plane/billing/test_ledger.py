"""Entries of the ledger: each event moves what it must, and nothing is made or lost. Not how they are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.billing import ledger
from control_plane.billing.ledger import Account, Cause, Entry, Occurrence, Posting, fold
from control_plane.domain.money import MINOR_MAX
from control_plane.errors import BadInput, Refused
from tests.support.ledgers import random_entries

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
OF = Occurrence(tenant="acme", reference="in_1", occurred_at=AT, currency="EUR")
Event = Callable[..., Entry | None]
RANDOM = st.integers(0, 2**32).map(Random)

# What each event moves, account by account: debits positive.
MOVES: list[tuple[Event, dict[str, Any], dict[Account, int]]] = [
    (ledger.invoice_finalised, {"net_minor": 1000}, {"receivable": 1000, "revenue": -1000}),
    (
        ledger.invoice_finalised,
        {"net_minor": 1000, "tax_minor": 190, "deferred_minor": 1000},
        {"receivable": 1190, "deferred_revenue": -1000, "tax_payable": -190},
    ),
    (
        ledger.invoice_finalised,
        {"net_minor": 1000, "tax_minor": 190, "deferred_minor": 400, "credit_minor": 90},
        {
            "receivable": 1100,
            "credit_balance": 90,
            "revenue": -600,
            "deferred_revenue": -400,
            "tax_payable": -190,
        },
    ),
    # Paid by credit alone: nothing is left to be owed.
    (
        ledger.invoice_finalised,
        {"net_minor": 500, "credit_minor": 500},
        {"credit_balance": 500, "revenue": -500},
    ),
    # More is charged than is given back, whose tax was higher; then the other way round.
    (
        ledger.invoice_gave_back,
        {"earned_minor": 10, "deferred_minor": 100, "tax_minor": -30},
        {"receivable": 80, "revenue": -10, "deferred_revenue": -100, "tax_payable": 30},
    ),
    (
        ledger.invoice_gave_back,
        {"earned_minor": 0, "deferred_minor": -100, "tax_minor": -19},
        {"credit_balance": -119, "deferred_revenue": 100, "tax_payable": 19},
    ),
    (ledger.payment_settled, {"amount_minor": 7}, {"cash_clearing": 7, "receivable": -7}),
    (
        ledger.payment_settled,
        {"amount_minor": 7, "allocated_minor": 5, "into": "cash"},
        {"cash": 7, "receivable": -5, "credit_balance": -2},
    ),
    (
        ledger.payment_settled,
        {"amount_minor": 7, "allocated_minor": 0},
        {"cash_clearing": 7, "credit_balance": -7},
    ),
    (ledger.payment_refunded, {"amount_minor": 7}, {"refunds": 7, "cash_clearing": -7}),
    (
        ledger.payment_refunded,
        {"amount_minor": 7, "owed": "credit_balance", "out_of": "cash"},
        {"credit_balance": 7, "cash": -7},
    ),
    (
        ledger.credit_note_issued,
        {
            "net_minor": 1000,
            "tax_minor": 190,
            "deferred_minor": 300,
            "receivable_minor": 190,
            "refund_minor": 600,
            "credit_minor": 400,
        },
        {
            "revenue": 700,
            "deferred_revenue": 300,
            "tax_payable": 190,
            "receivable": -190,
            "refunds": -600,
            "credit_balance": -400,
        },
    ),
    (ledger.written_off, {"amount_minor": 7}, {"write_off": 7, "receivable": -7}),
    (ledger.credit_granted, {"amount_minor": 7}, {"revenue": 7, "credit_balance": -7}),
    (
        ledger.credit_granted,
        {"amount_minor": 7, "out_of": "deferred_revenue"},
        {"deferred_revenue": 7, "credit_balance": -7},
    ),
    (ledger.credit_applied, {"amount_minor": 7}, {"credit_balance": 7, "receivable": -7}),
    (ledger.revenue_recognised, {"amount_minor": 7}, {"deferred_revenue": 7, "revenue": -7}),
    (ledger.payout_received, {"amount_minor": 7}, {"cash": 7, "cash_clearing": -7}),
]

NOTE = {"net_minor": 10, "refund_minor": 10}
REFUSED: list[tuple[Event, dict[str, Any], str]] = [
    (ledger.invoice_finalised, {"net_minor": -1}, "net_minor"),
    (ledger.invoice_finalised, {"net_minor": 10, "tax_minor": -1}, "tax_minor"),
    (ledger.invoice_finalised, {"net_minor": 10, "deferred_minor": 11}, "deferred_minor"),
    (ledger.invoice_finalised, {"net_minor": 10, "credit_minor": 11}, "credit_minor"),
    (ledger.invoice_finalised, {"net_minor": 10, "credit_minor": -1}, "credit_minor"),
    (ledger.invoice_finalised, {"net_minor": 0, "credit_minor": 1}, "credit_minor"),
    (ledger.invoice_finalised, {"net_minor": MINOR_MAX, "tax_minor": 1}, "amount_minor"),
    (
        ledger.invoice_gave_back,
        {"earned_minor": 0, "deferred_minor": -MINOR_MAX - 1, "tax_minor": 0},
        "deferred_minor",
    ),
    (ledger.payment_settled, {"amount_minor": 0}, "amount_minor"),
    (ledger.payment_settled, {"amount_minor": MINOR_MAX + 1}, "amount_minor"),
    (ledger.payment_settled, {"amount_minor": 5, "allocated_minor": 6}, "allocated_minor"),
    (ledger.payment_settled, {"amount_minor": 5, "allocated_minor": -1}, "allocated_minor"),
    (ledger.payment_refunded, {"amount_minor": -5}, "amount_minor"),
    (ledger.credit_note_issued, {"net_minor": 10}, "net_minor"),
    (ledger.credit_note_issued, {"net_minor": 0}, "net_minor"),
    (ledger.credit_note_issued, NOTE | {"credit_minor": 1}, "net_minor"),
    (ledger.credit_note_issued, NOTE | {"deferred_minor": 11}, "deferred_minor"),
    (ledger.credit_note_issued, NOTE | {"tax_minor": -1}, "net_minor"),
    (ledger.credit_note_issued, {"net_minor": -1, "deferred_minor": 1}, "deferred_minor"),
    (ledger.credit_note_issued, NOTE | {"receivable_minor": -1}, "receivable_minor"),
    (ledger.credit_note_issued, NOTE | {"refund_minor": 11, "credit_minor": -1}, "credit_minor"),
    (ledger.written_off, {"amount_minor": 0}, "amount_minor"),
    (ledger.credit_granted, {"amount_minor": 0}, "amount_minor"),
    (ledger.credit_applied, {"amount_minor": 0}, "amount_minor"),
    (ledger.revenue_recognised, {"amount_minor": 0}, "amount_minor"),
    (ledger.payout_received, {"amount_minor": 0}, "amount_minor"),
]


def posting(account: Account, amount_minor: int, currency: str = "EUR") -> Posting:
    return Posting(account=account, amount_minor=amount_minor, currency=currency)


def entry(*postings: Posting) -> Entry:
    cause = Cause(kind="payment_settled", reference="py_1")
    return Entry(tenant="acme", occurred_at=AT, cause=cause, postings=postings)


@pytest.mark.parametrize(("event", "amounts", "moved"), MOVES)
def test_an_event_moves_what_it_must(
    event: Event, amounts: dict[str, Any], moved: dict[Account, int]
) -> None:
    made = event(OF, **amounts)
    assert made is not None
    assert fold([made]) == {(account, "EUR"): amount for account, amount in moved.items()}
    assert (made.tenant, made.occurred_at, made.cause.reference) == ("acme", AT, "in_1")
    # An invoice that gives back is final by the same event.
    named = event.__name__.replace("gave_back", "finalised")
    assert made.cause.kind == named


@pytest.mark.parametrize(("event", "amounts", "field"), REFUSED)
def test_amounts_that_no_such_event_can_have_are_refused_by_field(
    event: Event, amounts: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadInput) as told:
        event(OF, **amounts)
    assert told.value.field == field


def test_an_invoice_of_nothing_moves_nothing() -> None:
    assert ledger.invoice_finalised(OF, net_minor=0) is None
    assert ledger.invoice_gave_back(OF, earned_minor=0, deferred_minor=0, tax_minor=0) is None


@given(RANDOM, st.integers(1, 20))
def test_every_entry_balances_in_each_currency_and_moves_something(
    random: Random, count: int
) -> None:
    for one in random_entries(random, count):
        sums: Counter[str] = Counter()
        for part in one.postings:
            assert part.amount_minor != 0
            sums[part.currency] += part.amount_minor
        assert len(one.postings) >= 2
        assert set(sums.values()) == {0}


@given(RANDOM, st.integers(0, 30))
def test_balances_do_not_depend_on_the_order_and_sum_to_zero(random: Random, count: int) -> None:
    entries = random_entries(random, count)
    balances = fold(entries)
    random.shuffle(entries)
    assert fold(entries) == balances
    sums: Counter[str] = Counter()
    for (_, currency), amount in balances.items():
        sums[currency] += amount
    assert not any(sums.values())
    assert 0 not in balances.values()


@given(RANDOM)
def test_an_entry_and_its_reversal_come_to_nothing(random: Random) -> None:
    (made,) = random_entries(random, 1)
    undone = ledger.reverse(made, made.occurred_at + timedelta(days=3))
    assert fold([made, undone]) == {}
    assert (undone.tenant, undone.cause.kind) == (made.tenant, "reversal")
    assert undone.occurred_at == made.occurred_at + timedelta(days=3)
    assert undone.id == ledger.reverse(made, AT).id != made.id


def test_a_reversal_is_final() -> None:
    undone = ledger.reverse(ledger.written_off(OF, amount_minor=7), AT)
    with pytest.raises(Refused) as told:
        ledger.reverse(undone, AT)
    assert told.value.code == "ledger_reversal"


def test_an_id_follows_from_tenant_and_cause_alone() -> None:
    first = ledger.written_off(OF, amount_minor=7)
    told_again = OF.model_copy(update={"occurred_at": AT + timedelta(days=1), "currency": "USD"})
    assert ledger.written_off(told_again, amount_minor=8).id == first.id
    others = {
        ledger.credit_applied(OF, amount_minor=7).id,
        ledger.written_off(OF.model_copy(update={"tenant": "globex"}), amount_minor=7).id,
        ledger.written_off(OF.model_copy(update={"reference": "in_2"}), amount_minor=7).id,
        # Neighbouring parts never run into each other.
        ledger.written_off(
            OF.model_copy(update={"tenant": "acmei", "reference": "n_1"}), amount_minor=7
        ).id,
    }
    assert len(others | {first.id}) == 5
    # Kept rows are found by it for ever.
    assert first.id == sha256(b'["acme","written_off","in_1"]').hexdigest()


@pytest.mark.parametrize(
    "postings",
    [
        (),
        (posting("cash", 1),),
        (posting("cash", 1), posting("revenue", -2)),
        (posting("cash", 1), posting("revenue", 1)),
        # Two currencies never make up for each other.
        (posting("cash", 1, "EUR"), posting("revenue", -1, "USD")),
        (posting("cash", 1), posting("revenue", -1), posting("refunds", 1, "USD")),
    ],
)
def test_what_does_not_balance_is_no_entry(postings: tuple[Posting, ...]) -> None:
    with pytest.raises(Refused) as told:
        entry(*postings)
    assert told.value.code == "ledger_unbalanced"


def test_an_entry_may_balance_in_several_currencies() -> None:
    made = entry(
        posting("cash", 1),
        posting("cash", 2, "USD"),
        posting("revenue", -1),
        posting("revenue", -2, "USD"),
    )
    assert fold([made]) == {
        ("cash", "EUR"): 1,
        ("cash", "USD"): 2,
        ("revenue", "EUR"): -1,
        ("revenue", "USD"): -2,
    }


def test_the_order_in_which_postings_are_told_makes_no_difference() -> None:
    one, other = posting("receivable", -5), posting("cash", 5)
    assert entry(one, other) == entry(other, one)


def test_an_account_stands_once_in_each_currency() -> None:
    with pytest.raises(ValidationError):
        entry(posting("cash", 3), posting("cash", 2), posting("revenue", -5))


@pytest.mark.parametrize("amount", [0, 1.0, "1", True, MINOR_MAX + 1, -MINOR_MAX - 1])
def test_a_posting_is_an_exact_amount_that_moves_something(amount: Any) -> None:
    with pytest.raises(ValidationError):
        posting("cash", amount)


def test_an_event_without_a_time_zone_is_none() -> None:
    with pytest.raises(ValidationError):
        Occurrence(
            tenant="acme", reference="in_1", occurred_at=AT.replace(tzinfo=None), currency="EUR"
        )


def test_a_year_of_one_tenant_leaves_what_was_earned_taken_in_and_given_up() -> None:
    """Invoiced, paid too much, partly credited and refunded, one invoice given up and then paid."""

    def of(reference: str) -> Occurrence:
        return OF.model_copy(update={"reference": reference})

    lost = ledger.written_off(of("in_2"), amount_minor=2380)
    entries = [
        ledger.invoice_finalised(of("in_1"), net_minor=12000, tax_minor=2280, deferred_minor=12000),
        ledger.payment_settled(of("py_1"), amount_minor=14300, allocated_minor=14280),
        *(ledger.revenue_recognised(of(f"in_1:{n}"), amount_minor=1000) for n in range(6)),
        ledger.credit_note_issued(
            of("cn_1"), net_minor=6000, tax_minor=1140, deferred_minor=6000, refund_minor=7140
        ),
        ledger.payment_refunded(of("re_1"), amount_minor=7140),
        ledger.invoice_finalised(of("in_2"), net_minor=2000, tax_minor=380),
        lost,
        ledger.reverse(lost, AT),
        ledger.payment_settled(of("py_2"), amount_minor=2360),
        ledger.credit_applied(of("in_2"), amount_minor=20),
        ledger.payout_received(of("po_1"), amount_minor=9000),
    ]
    assert fold(one for one in entries if one is not None) == {
        ("cash", "EUR"): 9000,
        ("cash_clearing", "EUR"): 14300 - 7140 + 2360 - 9000,
        ("revenue", "EUR"): -8000,
        ("tax_payable", "EUR"): -(2280 - 1140 + 380),
    }
