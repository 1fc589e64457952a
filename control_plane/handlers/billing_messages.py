"""What happened to a tenant's billing, told to whoever asked for it by webhook. Not the sending, and no rule of billing."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.billing import webhook_endpoints
from control_plane.billing.book import Book, Note
from control_plane.billing.outbox import Message, publish
from control_plane.domain.canonical import Json, digest, instant

KINDS: Final = (
    "invoice.finalised",
    "invoice.paid",
    "invoice.voided",
    "payment.failed",
    "payment.action_required",
    "credit_note.issued",
    "refund.succeeded",
    "refund.failed",
)
FAMILY: Final = "subscription."
_ID_DIGITS: Final = 32


def publish_notes(connection: Connection, book: Book) -> int:
    """Write a message for each of the book's notes that is told, with the change itself; how many.

    The same note has the same id, so what a transaction does again is told once. A tenant that has
    no endpoint, in a workspace that has none, costs one look.
    """
    wanted = [note for note in book.notes if told_outside(note.kind)]
    if not wanted or not webhook_endpoints.any_for(connection, book.tenant):
        return 0
    told = [publish(connection, message_of(book.tenant, note)) for note in wanted]
    return sum(1 for endpoints in told if endpoints)


def told_outside(kind: str) -> bool:
    """Whether a note of this kind becomes a message."""
    return kind in KINDS or kind.startswith(FAMILY)


def message_of(tenant: str, note: Note) -> Message:
    """A note as a message. Empty parts are left out."""
    data: dict[str, Json] = {}
    if note.reference:
        data["reference"] = note.reference
    if note.amount is not None:
        data["amount"] = {"minor": note.amount.minor, "currency": note.amount.currency}
    if note.detail:
        data["detail"] = note.detail
    named = digest(["webhook message", tenant, note.kind, instant(note.at), data])
    return Message(id=named[:_ID_DIGITS], tenant=tenant, kind=note.kind, data=data, made_at=note.at)
