"""What a book keeps while it is worked on, and what it refuses."""

from __future__ import annotations

import pytest

from control_plane.billing import ledger
from control_plane.domain.machine import IllegalTransition
from control_plane.errors import Refused
from tests.support.books import DAY, START, begun, declined, facts_of, final, free_book, go


def test_an_illegal_event_moves_nothing() -> None:
    book = begun()
    held = facts_of(book)
    with pytest.raises(IllegalTransition):
        book.fire("resume", START)
    assert facts_of(book) == held


def test_an_event_is_told_with_its_instant_and_its_changes() -> None:
    book = begun()
    book.fire("cancel_at_period_end", START + DAY, detail="why", cancel_at_period_end=True)
    assert book.subscription.cancel_at_period_end
    last = book.notes[-1]
    assert (last.at, last.kind, last.detail) == (
        START + DAY,
        "subscription.cancel_at_period_end",
        "why",
    )


def test_a_final_invoice_is_never_edited() -> None:
    book = begun()
    [invoice] = final(book)
    held = facts_of(book)
    for changes in ({"total_minor": 1}, {"lines": ()}, {"number": "INV-9"}, {"allocated_minor": 0}):
        with pytest.raises(Refused) as caught:
            book.put(invoice.model_copy(update=changes))
        assert caught.value.code == "invoice_final"
        assert facts_of(book) == held


def test_balances_are_the_fold_of_what_was_booked() -> None:
    book = go(begun(), START + 100 * DAY)
    assert dict(book.balances) == dict(ledger.fold(book.entries))
    book.post(None)
    assert dict(book.balances) == dict(ledger.fold(book.entries))


def test_an_entry_is_found_here_or_where_it_was_kept() -> None:
    book = begun()
    [invoice] = final(book)
    entry = book.entry_of("invoice_finalised", invoice.id)
    assert entry is not None
    assert entry in book.entries
    book.entries.clear()
    assert book.entry_of("invoice_finalised", invoice.id) is None
    kept = {entry.id: entry}
    book.sources = type(book.sources)(
        book.sources.plans, book.sources.numbers, book.sources.usage, kept.get
    )
    assert book.entry_of("invoice_finalised", invoice.id) == entry


def test_a_free_subscription_has_no_terms_and_says_so() -> None:
    book = free_book()
    with pytest.raises(Refused) as caught:
        book.terms  # noqa: B018 - the reading is what is refused
    assert caught.value.code == "no_terms"
    book.refresh()
    assert book.subscription.gates == ()


def test_what_must_be_paid_before_a_change_holds_is_no_debt() -> None:
    book = go(begun(), START + 28 * DAY, declined)
    [owed] = book.owed()
    assert [one.invoice for one in book.dunning_facts().debts] == [owed.id]
    assert book.subscription.gates != ()
    [note] = [one for one in book.notes if one.kind == "payment.failed"]
    assert note.reference == owed.id


def test_what_moved_is_remembered_by_its_id() -> None:
    book = begun()
    [attempt] = book.attempts.values()
    [invoice] = final(book)
    assert book.touched == {attempt.id, invoice.id}
