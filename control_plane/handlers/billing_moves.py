"""One tenant's book opened and closed within a transaction of the store, by a run or by the clock. No rule of billing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from control_plane.audit.recorder import guards_now
from control_plane.billing import book_store
from control_plane.billing.book import Book, Note
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import take_in
from control_plane.billing.refunding import take_in as take_in_refund
from control_plane.domain.canonical import Json, plain
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.refund import Refund
from control_plane.errors import NotFound
from control_plane.handlers.billing_messages import publish_notes
from control_plane.handlers.declared import Catalog
from control_plane.handlers.handler import Ports, Work
from control_plane.handlers.record_quota import records_held
from control_plane.handlers.teller import RefundVerdict, Verdict
from control_plane.store import rows
from control_plane.store.billing_tables import payment_attempt


def loaded(
    connection: Connection,
    catalog: Catalog,
    tenant: str,
    ports: Ports | None = None,
) -> Book:
    """The tenant's book as it was left, to go on by a catalog. NotFound without a subscription.

    Without `ports` nobody looks whether the tenant's records fit into a smaller plan.
    """

    def records() -> int:
        return 0 if ports is None else records_held(connection, ports, tenant)

    return book_store.load(connection, tenant, catalog.plans, catalog.coupons, catalog.tax, records)


def opened(connection: Connection, ports: Ports, tenant: str) -> Book:
    """The tenant's book, brought up to now. NotFound without a subscription."""
    book = loaded(connection, ports.catalog, tenant, ports)
    advance(book, ports.clock.now())
    return book


def closed(
    connection: Connection, book: Book, vouch: Callable[[Connection, str, str], None]
) -> None:
    """Write what moved, and publish it; ``vouch`` is told each guarded row before it is written."""
    book.refresh()
    for row in book_store.guards_of(book):
        vouch(connection, *row)
    _written(connection, book)


def _written(connection: Connection, book: Book) -> None:
    book_store.save(connection, book)
    publish_notes(connection, book)


def closed_by_run(connection: Connection, book: Book, work: Work) -> dict[str, Json]:
    """The same for a step of a run, whose leaf vouches for it; returns what happened, for the step."""
    closed(connection, book, work.vouch)
    return {"happened": told(book)}


def closed_by_itself(connection: Connection, ports: Ports, book: Book) -> None:
    """The same with a leaf of its own: for what time does, or a provider says."""
    book.refresh()
    named = book_store.guards_of(book)
    found = tuple(guards_now(connection, named))
    _written(connection, book)
    payload: dict[str, Json] = {"happened": told(book)}
    ports.recorder.record(
        connection, "billing.moved", book.tenant, payload, named, found, only_moved=True
    )


def told(book: Book) -> list[Json]:
    """What happened, as a leaf and a step keep it."""
    return [_told(one) for one in book.notes]


def _told(note: Note) -> Json:
    known = {
        "at": note.at,
        "kind": note.kind,
        "reference": note.reference,
        "amount": note.amount,
        "detail": note.detail,
    }
    return plain({name: value for name, value in known.items() if value not in ("", None)})


def attempt_of(connection: Connection, attempt_id: str) -> PaymentAttempt | None:
    """An attempt as it stands."""
    return rows.by(connection, payment_attempt.c.id, PaymentAttempt, attempt_id)


def take_word(
    connection: Connection, ports: Ports, attempt: PaymentAttempt, verdict: Verdict
) -> Book:
    """The book after the provider's word about an attempt; to be closed in the same transaction."""
    book = opened(connection, ports, attempt.tenant)
    book_store.bring(connection, book, attempt.invoice)
    held = book.attempts.get(attempt.id)
    if held is None:
        raise NotFound("there is no such attempt", code="attempt_not_found")
    now = ports.clock.now()
    take_in(book, verdict(held, now), now)
    advance(book, now)
    return book


def take_refund_word(
    connection: Connection, ports: Ports, promised: Refund, verdict: RefundVerdict
) -> Book:
    """The book after the provider's word about a refund; to be closed in the same transaction."""
    book = opened(connection, ports, promised.tenant)
    held = book.refunds.get(promised.id)
    if held is None:
        # It has ended meanwhile, and so is in no book by itself.
        book_store.bring_refunds(connection, book, promised.invoice)
        held = book.refunds[promised.id]
    now = ports.clock.now()
    take_in_refund(book, verdict(held, now), now)
    advance(book, now)
    return book
