"""Invoices as they are called for: the newest first, whole, without tokens, and never another tenant's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from control_plane.billing import book_store
from control_plane.billing.invoicing import issue_credit
from control_plane.domain.terms import Method
from control_plane.handlers.billing_moves import closed_by_itself, opened
from control_plane.store.billing_tables import invoice
from policies.gate import Gate
from tests.support.approval_world import REQUESTER, TENANT
from tests.support.billed import begin, live, priced
from tests.support.lifecycle_bench import Bench, Onboarded, make_bench

JAN = datetime(2030, 1, 31, 10, tzinfo=UTC)
DAY = timedelta(days=1)
ABSENT = "invoice_" + "0" * 32


@pytest.fixture
def bench(tmp_path: Path, gate: Gate, standing: Onboarded) -> Iterator[Bench]:
    """A world whose tenant has paid three months, and has not paid the fourth."""
    made = priced(make_bench(standing, tmp_path / "world", gate))
    made.world.clock.advance(JAN - made.world.clock.now())
    begin(made, "team")
    live(made, datetime(2030, 4, 2, tzinfo=UTC))
    with made.world.store.write(TENANT) as connection:
        book = opened(connection, made.world.ports, TENANT)
        book.revise(method=Method(provider="sandbox", reference="sandbox_declined"))
        closed_by_itself(connection, made.world.ports, book)
    live(made, datetime(2030, 5, 1, 12, tzinfo=UTC))
    yield made
    made.world.close()


def listed(bench: Bench, **more: Any) -> dict[str, Any]:
    answered = bench.ask("invoice_list", REQUESTER, tenant=TENANT, **more)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def one(bench: Bench, invoice_id: str) -> dict[str, Any]:
    answered = bench.ask("invoice_get", REQUESTER, tenant=TENANT, invoice=invoice_id)
    assert answered["outcome"] == "done", answered
    result: dict[str, Any] = answered["result"]
    return result


def test_invoices_are_listed_from_the_newest_with_what_is_due(bench: Bench) -> None:
    told = listed(bench)
    assert [(one["number"], one["state"], one["due_minor"]) for one in told["invoices"]] == [
        ("INV-000004", "open", 3999),
        ("INV-000003", "paid", 0),
        ("INV-000002", "paid", 0),
        ("INV-000001", "paid", 0),
    ]
    newest = told["invoices"][0]
    assert newest["total_minor"] == 3999
    assert newest["overdue"] is True
    assert newest["due_at"] == newest["finalized_at"] == "2030-04-30T10:00:00.000000Z"
    assert newest["period_end"] == "2030-05-31T10:00:00.000000Z"
    assert told["next_after"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_give_each_invoice_once_and_in_order(bench: Bench, limit: int) -> None:
    found: list[str] = []
    after: str | None = None
    for _ in range(6):
        page = listed(bench, limit=limit, after=after)
        found += [one["number"] for one in page["invoices"]]
        after = page["next_after"]
        if after is None:
            break
    assert found == [f"INV-{n:06}" for n in (4, 3, 2, 1)]


def test_a_cursor_is_good_for_its_own_tenant_alone(bench: Bench) -> None:
    after = listed(bench, limit=1)["next_after"]
    told = bench.ask("invoice_list", REQUESTER, tenant="globex", limit=1, after=after)
    assert told["outcome"] == "not_found"
    assert bench.ask("invoice_list", tenant=TENANT, after=f"{after}x")["outcome"] == "not_found"


def test_a_draft_is_read_by_its_id_and_not_listed(bench: Bench) -> None:
    with bench.world.store.write(TENANT) as connection:
        book = opened(connection, bench.world.ports, TENANT)
        begun = next(iter(book.invoices.values()))
        draft = begun.model_copy(
            update={
                "id": ABSENT,
                "state": "draft",
                "number": None,
                "finalized_at": None,
                "due_at": None,
                "period_start": None,
                "period_end": None,
                "lines": (),
                "total_minor": 0,
            }
        )
        connection.execute(invoice.insert().values(**draft.model_dump(mode="json")))
    assert ABSENT not in {one["id"] for one in listed(bench)["invoices"]}
    assert one(bench, ABSENT)["state"] == "draft"


def test_an_invoice_is_read_with_its_lines_as_text_and_in_minor_units(bench: Bench) -> None:
    told = one(bench, listed(bench)["invoices"][0]["id"])
    assert (told["total"], told["due"], told["paid_minor"]) == ("EUR 39.99", "EUR 39.99", 0)
    assert [(line["kind"], line["quantity"], line["amount"]) for line in told["lines"]] == [
        ("base", "1", "EUR 29.99"),
        ("seats", "2", "EUR 10.00"),
    ]
    assert sum(line["amount_minor"] for line in told["lines"]) == told["total_minor"]
    assert told["lines_count"] == 2


def test_attempts_are_told_without_what_the_provider_calls_them(bench: Bench) -> None:
    told = one(bench, listed(bench)["invoices"][0]["id"])
    assert [(tried["number"], tried["state"], tried["failure"]) for tried in told["attempts"]] == [
        (1, "failed", "soft_decline"),
        (2, "failed", "soft_decline"),
    ]
    assert told["attempts"][0]["decline_code"] == "insufficient_funds"
    assert "sandbox_declined" not in str(told)
    assert "reference" not in told["attempts"][0]
    assert told["credit_notes"] == []


def test_what_was_taken_back_stands_with_its_invoice(bench: Bench) -> None:
    newest = listed(bench)["invoices"][0]
    with bench.world.store.write(TENANT) as connection:
        book = opened(connection, bench.world.ports, TENANT)
        held = book_store.bring(connection, book, newest["id"])
        issue_credit(book, held, 1000, "reduction", "service", bench.world.clock.now())
        closed_by_itself(connection, bench.world.ports, book)
    told = one(bench, newest["id"])
    assert (told["credited_minor"], told["due"]) == (1000, "EUR 29.99")
    assert [(note["number"], note["amount"], note["reason"]) for note in told["credit_notes"]] == [
        ("CN-000001", "EUR 10.00", "service")
    ]


@pytest.mark.long
def test_another_tenants_invoice_is_answered_as_one_that_never_was(bench: Bench) -> None:
    theirs = listed(bench)["invoices"][0]["id"]
    for asked in (
        {"tenant": "globex", "invoice": theirs},
        {"tenant": "globex", "invoice": ABSENT},
        {"tenant": TENANT, "invoice": ABSENT},
    ):
        counted: list[str] = []

        def seen(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
            counted.append(statement)  # noqa: B023 - it is read before the next one

        event.listen(Engine, "before_cursor_execute", seen)
        try:
            told = bench.ask("invoice_get", REQUESTER, **asked)
        finally:
            event.remove(Engine, "before_cursor_execute", seen)
        assert told == bench.ask("invoice_get", REQUESTER, tenant="nobody", invoice="none")
        assert told["outcome"] == "not_found"
        assert sum("FROM invoice" in one for one in counted) == 1
    assert bench.ask("invoice_list", REQUESTER, tenant="globex")["outcome"] == "not_found"
