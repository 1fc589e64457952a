"""An invoice: what adds up, what may still change, and what settles it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.domain.buyer import Buyer
from control_plane.domain.credit_note import CreditNote, refuse_credit
from control_plane.domain.invoice import (
    INVOICE,
    Invoice,
    InvoiceLine,
    InvoiceState,
    LineKind,
    allocate,
    finalize,
    invoice_id,
    line_id,
    reduce,
    refuse_edit,
    refuse_totals,
    void,
)
from control_plane.domain.machine import IllegalTransition
from control_plane.domain.money import MINOR_MAX
from control_plane.domain.tax import InvoiceTax, TaxParty
from control_plane.errors import BadInput, Refused

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ID = "invoice_1"
ROWS = {
    ("draft", "update_lines"): "draft",
    ("draft", "finalize"): "open",
    ("draft", "finalize_settled"): "paid",
    ("draft", "delete"): "deleted",
    ("open", "pay"): "paid",
    ("open", "pay_part"): "open",
    ("open", "fail_payment"): "open",
    ("open", "require_action"): "open",
    ("open", "pass_due"): "open",
    ("open", "void"): "void",
    ("open", "write_off"): "uncollectible",
    ("uncollectible", "pay"): "paid",
    ("uncollectible", "pay_part"): "uncollectible",
    ("uncollectible", "void"): "void",
}


def line(amount_minor: int, reference: str = "base", **facts: Any) -> InvoiceLine:
    kind: LineKind = facts.pop("kind", "base")
    owner: str = facts.pop("invoice", ID)
    base = {
        "id": line_id(owner, kind, reference),
        "invoice": owner,
        "kind": kind,
        "reference": reference,
        "description": "Team, May",
        "amount_minor": amount_minor,
        "currency": "EUR",
    }
    return InvoiceLine.model_validate({**base, **facts})


def draft(*amounts_minor: int, **facts: Any) -> Invoice:
    lines = tuple(line(minor, f"base-{at}") for at, minor in enumerate(amounts_minor))
    base = {
        "id": ID,
        "tenant": "acme",
        "currency": "EUR",
        "lines": lines,
        "total_minor": sum(amounts_minor),
    }
    return Invoice.model_validate({**base, **facts})


def opened(total_minor: int = 1_000) -> Invoice:
    return finalize(draft(total_minor), "INV-000001", NOW, NOW)


def changed(invoice: Invoice, **changes: Any) -> Invoice:
    held = {name: getattr(invoice, name) for name in Invoice.model_fields}
    return Invoice.model_validate({**held, **changes})


def note(amount_minor: int, **facts: Any) -> CreditNote:
    base = {
        "id": "note_1",
        "tenant": "acme",
        "invoice": ID,
        "number": "CN-000001",
        "kind": "reduction",
        "reason": "mistake",
        "amount_minor": amount_minor,
        "currency": "EUR",
        "issued_at": NOW,
    }
    return CreditNote.model_validate({**base, **facts})


def credited_by(invoice: Invoice, given_note: CreditNote) -> Invoice:
    if given_note.kind == "reduction":
        return reduce(invoice, given_note.amount_minor)
    return changed(invoice, credited_minor=invoice.credited_minor + given_note.amount_minor)


# the machine -----------------------------------------------------------------------------------


def test_the_table_holds_every_row_of_the_rules_and_no_other() -> None:
    assert {(s, a.event): a.target for a in INVOICE.transitions for s in a.sources} == ROWS


def test_a_numbered_invoice_is_never_deleted() -> None:
    for state in get_args(InvoiceState):
        assert ("delete" in INVOICE.legal(state)) is (state == "draft")


# ids -------------------------------------------------------------------------------------------


def test_a_line_has_the_same_id_whenever_it_is_made() -> None:
    assert line_id(ID, "usage", "api_calls") == line_id(ID, "usage", "api_calls")
    # Known bytes: an id that changed with a release would write every line of a renewal twice.
    assert line_id("invoice_1", "base", "base") == "line_72883b313e1fdb8a5f5536e02aa3ef24"


def test_invoice_kind_and_reference_each_make_another_line() -> None:
    ids = {
        line_id(ID, "usage", "api"),
        line_id("invoice_2", "usage", "api"),
        line_id(ID, "seats", "api"),
        line_id(ID, "usage", "api2"),
    }
    assert len(ids) == 4


def test_a_period_has_one_invoice_in_whatever_zone_its_start_is_written() -> None:
    here = NOW.astimezone(ZoneInfo("America/St_Johns"))
    assert invoice_id("sub_1", NOW) == invoice_id("sub_1", here)
    assert invoice_id("sub_1", NOW) != invoice_id("sub_1", NOW + TICK)
    assert invoice_id("sub_1", NOW) != invoice_id("sub_2", NOW)


@pytest.mark.parametrize(
    "facts",
    [
        {"id": "line_0"},
        {"period_start": NOW},
        {"period_end": NOW},
        {"period_start": NOW, "period_end": NOW - TICK},
        {"quantity": Decimal("NaN")},
        {"unit_price": Decimal("Infinity")},
        {"amount_minor": MINOR_MAX + 1},
        {"amount_minor": 1.0},
    ],
)
def test_a_line_that_contradicts_itself_is_no_line(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InvoiceLine.model_validate({**dict(line(100)), **facts})


# totals ----------------------------------------------------------------------------------------


@given(amounts=st.lists(st.integers(-10_000, 10_000), max_size=12), off=st.integers(-2, 2))
@settings(max_examples=60, deadline=None)
def test_the_sums_hold_exactly_where_the_lines_make_the_total_and_it_is_not_negative(
    amounts: list[int], off: int
) -> None:
    total = sum(amounts) + off
    sound = off == 0 and total >= 0
    assert (refuse_totals(draft(*amounts, total_minor=total)) is None) is sound


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        ((line(500), line(500)), "lines"),
        ((line(1_000, invoice="invoice_2"),), "lines"),
        ((line(1_000, currency="USD"),), "currency"),
        ((line(999),), "total_minor"),
    ],
)
def test_sums_that_do_not_hold_keep_an_invoice_a_draft(
    lines: tuple[InvoiceLine, ...], fact: str
) -> None:
    with pytest.raises(Refused) as caught:
        finalize(draft(lines=lines, total_minor=1_000), "INV-000001", NOW, NOW)
    assert (caught.value.code, caught.value.fact) == ("invoice_not_sound", fact)


def test_an_invoice_below_zero_is_never_final() -> None:
    with pytest.raises(Refused, match="do not agree"):
        finalize(draft(100, -101), "INV-000001", NOW, NOW)


# final -----------------------------------------------------------------------------------------


def test_what_is_due_stands_open_and_what_is_not_is_paid_at_once() -> None:
    assert opened(1).state == "open"
    settled = finalize(draft(100, -100), "INV-000001", NOW, NOW)
    assert (settled.state, settled.due_minor, settled.number) == ("paid", 0, "INV-000001")


def test_an_invoice_is_final_once() -> None:
    with pytest.raises(IllegalTransition) as caught:
        finalize(opened(), "INV-000002", NOW, NOW)
    assert "finalize" not in caught.value.legal


_OTHER: dict[str, Any] = {
    "id": "invoice_2",
    "tenant": "globex",
    "subscription": "sub_2",
    "number": "INV-000002",
    "currency": "USD",
    "period_start": NOW,
    "period_end": NOW,
    "lines": (line(1, "else"),),
    "total_minor": 1,
    "collection_deadline": NOW,
    "finalized_at": NOW + TICK,
    "due_at": NOW + TICK,
    "buyer": Buyer(country="DE"),
    "tax": InvoiceTax(rules=f"table:1:{0:064}", seller=TaxParty(country="DE")),
}
_MOVES: dict[str, Any] = {
    "state": "uncollectible",
    "allocated_minor": 1,
    "credited_minor": 1,
    "attempts": 1,
    "next_attempt_at": NOW,
    "version": 9,
}


def test_every_field_of_an_invoice_is_fixed_or_moves_once_it_is_final() -> None:
    assert {*_OTHER, *_MOVES} == set(Invoice.model_fields)
    for name, value in _OTHER.items():
        refused = refuse_edit(opened(), changed(opened(), **{name: value}))
        assert refused is not None, name
        assert (refused.code, refused.fact) == ("invoice_final", name)
    for name, value in _MOVES.items():
        assert refuse_edit(opened(), changed(opened(), **{name: value})) is None


@pytest.mark.parametrize("name", ["allocated_minor", "credited_minor"])
def test_what_was_paid_or_credited_never_shrinks(name: str) -> None:
    more, less = changed(opened(), **{name: 5}), changed(opened(), **{name: 4})
    assert refuse_edit(less, more) is None
    refused = refuse_edit(more, less)
    assert refused is not None
    assert refused.fact == name


def test_a_draft_may_be_edited_and_stays_whose_it_is() -> None:
    before = draft(1_000)
    for name in _OTHER.keys() - {"number", "finalized_at"}:
        refused = refuse_edit(before, changed(before, **{name: _OTHER[name]}))
        fixed = name in {"id", "tenant", "subscription", "currency", "period_start"}
        assert (refused is not None) is fixed, name


@pytest.mark.parametrize(
    "facts",
    [
        {"state": "open"},
        {"state": "open", "number": "INV-000001"},
        {"state": "open", "finalized_at": NOW},
        {"number": "INV-000001"},
        {"number": "INV-000001", "finalized_at": NOW},
        {"state": "deleted", "number": "INV-000001", "finalized_at": NOW},
        {"allocated_minor": 1},
    ],
)
def test_number_and_instant_stand_exactly_once_it_is_final(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        draft(1_000, **facts)


# late usage and overdue ------------------------------------------------------------------------


def test_a_draft_takes_late_usage_until_its_deadline() -> None:
    waiting = draft(collection_deadline=NOW)
    assert waiting.takes_lines(NOW - TICK)
    assert not waiting.takes_lines(NOW)
    assert draft().takes_lines(NOW)
    assert not opened().takes_lines(NOW - TICK)


def test_it_is_overdue_from_its_due_instant_until_it_is_paid_credited_or_void() -> None:
    owed = opened()
    assert not owed.overdue(NOW - TICK)
    assert owed.overdue(NOW)
    assert allocate(owed, 999).overdue(NOW)
    assert not allocate(owed, 1_000).overdue(NOW)
    assert not reduce(owed, 1_000).overdue(NOW)
    assert not void(owed).overdue(NOW)


def test_writing_an_invoice_off_forgives_nothing() -> None:
    given_up = changed(opened(), state=INVOICE.next("open", "write_off"))
    assert given_up.overdue(NOW)
    assert allocate(given_up, 1_000).state == "paid"


# settling --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(1, 10_000),
    moves=st.lists(
        st.tuples(
            st.sampled_from(["pay", "reduction", "balance", "refund"]), st.integers(1, 4_000)
        ),
        max_size=20,
    ),
)
def test_whatever_is_paid_and_credited_in_whatever_order_no_cent_is_lost(
    total: int, moves: list[tuple[str, int]]
) -> None:
    invoice = opened(total)
    for what, amount in moves:
        before = invoice
        if what == "pay":
            if invoice.state == "open" and amount <= invoice.due_minor:
                invoice = allocate(invoice, amount)
            else:
                with pytest.raises((BadInput, IllegalTransition)):
                    allocate(invoice, amount)
        else:
            asked = note(amount, kind=what)
            if refuse_credit(invoice, asked) is None:
                invoice = credited_by(invoice, asked)
        assert refuse_edit(before, invoice) is None
        assert invoice.credited_minor <= total
        assert invoice.allocated_minor <= total
        settled = invoice.allocated_minor + invoice.credited_minor
        if invoice.state == "open":
            assert invoice.due_minor == total - settled > 0
        else:
            assert invoice.due_minor == 0
            assert settled >= total
            # What was given back is never more than what was paid.
            assert settled - total <= invoice.allocated_minor


@pytest.mark.parametrize("amount", [0, -1, 1_001])
def test_more_than_is_due_or_nothing_is_never_put_to_an_invoice(amount: int) -> None:
    for settle in (allocate, reduce):
        with pytest.raises(BadInput, match="amount_minor"):
            settle(opened(), amount)


def test_a_paid_invoice_takes_no_second_payment() -> None:
    with pytest.raises(IllegalTransition, match="terminal"):
        allocate(allocate(opened(), 1_000), 1_000)


def test_an_invoice_that_money_was_put_to_is_never_made_void() -> None:
    with pytest.raises(Refused) as caught:
        void(allocate(opened(), 1))
    assert caught.value.code == "invoice_has_payment"
    assert void(opened()).state == "void"


def test_a_settled_invoice_counts_its_writes() -> None:
    assert allocate(opened(), 1_000).version == opened().version + 1 == draft(1_000).version + 2
