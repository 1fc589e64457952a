"""How a run is brought to an end that is not its own: canceled, discarded, failed. Decides for none of them."""

from __future__ import annotations

from typing import Final

from control_plane.domain.run import DISCARD_EVENTS, DiscardReason
from control_plane.domain.run_record import Run
from control_plane.engine.questions import Questions
from control_plane.engine.runbook import Runbook
from control_plane.errors import Failed, PaybillError, Refused, Unavailable

DETAIL_CHARS_MAX: Final = 400
_REASON_CHARS_MAX: Final = 40


class Ends:
    """Each closes the run's question with it, in one transaction."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def cancel(self, book: Runbook) -> Run:
        """As its requester asked; nothing of it has begun."""
        with book.writing() as connection:
            self._questions.void(connection, book.run_id, "canceled")
            return book.move(connection, "cancel", reason="canceled")

    def outdated(self, book: Runbook) -> Run:
        """Its plan was made by another catalog than the one in force."""
        moved = Refused("Another catalog has been put in force since it was planned.")
        return self.discard(book, "digest_changed", moved)

    def discard(self, book: Runbook, reason: DiscardReason, error: PaybillError) -> Run:
        """Its plan is void, as the error says; a refusal keeps its own code."""
        with book.writing() as connection:
            event = DISCARD_EVENTS[reason]
            code = reason_of(error) if reason == "refused" else reason
            self._questions.void(connection, book.run_id, code)
            return book.move(connection, event, reason=code, detail=detail_of(error))

    def fail(self, book: Runbook, error: PaybillError) -> Run:
        """It came to nothing; what it has done is undone next."""
        return book.advance(
            "fail", reason=reason_of(error), detail=detail_of(error), retryable=passes(error)
        )


def passes(error: PaybillError) -> bool:
    """Whether the same may go well a moment later."""
    return isinstance(error, Unavailable) or (isinstance(error, Failed) and error.retryable)


def reason_of(error: PaybillError) -> str:
    """The error's code, as a run keeps it."""
    return error.code[:_REASON_CHARS_MAX]


def detail_of(error: PaybillError) -> str:
    """The error's message, as a run keeps it."""
    return str(error)[:DETAIL_CHARS_MAX]
