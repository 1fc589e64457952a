"""One tenant's book opened and closed within a transaction of the store, by a run or by the clock. No rule of billing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.billing import book_store
from control_plane.billing.book import Book, Note
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import take_in
from control_plane.domain.canonical import Json, plain
from control_plane.domain.payment import PaymentAttempt
from control_plane.errors import NotFound
from control_plane.handlers.billing_messages import publish_notes
from control_plane.handlers.handler import Ports, Work
from control_plane.handlers.teller import Verdict
from control_plane.store import rows
from control_plane.store.billing_tables import payment_attempt


def opened(connection: Connection, ports: Ports, tenant: str) -> Book:
    """The tenant's book, brought up to now. NotFound without a subscription."""
    book = book_store.load(connection, tenant, ports.catalog.plans)
    advance(book, ports.clock.now())
    return book


def closed(
    connection: Connection, book: Book, vouch: Callable[[Connection, str, str], None]
) -> None:
    """Write what moved, and publish it; ``vouch`` is told each guarded row before it is written."""
    book.refresh()
    for row in book_store.guards_of(book):
        vouch(connection, *row)
    book_store.save(connection, book)
    publish_notes(connection, book)


def closed_by_run(connection: Connection, book: Book, work: Work) -> dict[str, Json]:
    """The same for a step of a run, whose leaf vouches for it; returns what happened, for the step."""
    closed(connection, book, work.vouch)
    return {"happened": told(book)}


def closed_by_itself(connection: Connection, ports: Ports, book: Book) -> None:
    """The same with a leaf of its own: for what time does, or a provider says."""
    found: list[Guard] = []

    def vouch(held: Connection, table: str, key: str) -> None:
        found.append(guard(held, table, key))

    closed(connection, book, vouch)
    changed = tuple(
        (one.table, one.key)
        for one in found
        if guard(connection, one.table, one.key).digest != one.digest
    )
    payload: dict[str, Json] = {"happened": told(book)}
    ports.recorder.record(connection, "billing.moved", book.tenant, payload, changed, tuple(found))


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
