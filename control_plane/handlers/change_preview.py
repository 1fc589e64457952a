"""The handler that tells what a change of a subscription would come to. It changes nothing, and commits to nothing."""

from __future__ import annotations

from control_plane.billing.change_quote import Quote
from control_plane.billing.plan_change import quote
from control_plane.commands import Command
from control_plane.domain.canonical import Json, plain
from control_plane.domain.invoice import InvoiceLine
from control_plane.facts.load import subscription_facts
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.subscription_changes import wanted_of
from control_plane.handlers.subscription_plan import copied
from control_plane.subscription_commands import PreviewChange

_LINE = ("kind", "reference", "description", "amount_minor", "period_start", "period_end")
_TOLD = (
    "plan",
    "plan_version",
    "direction",
    "applies",
    "applies_at",
    "proration_at",
    "total_minor",
    "credit_minor",
    "due_minor",
    "recurring_minor",
    "recurring_discount_minor",
    "unfit",
)


class PreviewChangeHandler(SingleAnswer):
    """Quotes a change as the change itself will be quoted; what that refuses is refused here."""

    def subject(self, command: Command, view: View) -> Subject:
        """The subscription, there or not."""
        tenant = command.target()
        facts, found = subscription_facts(
            view.connection, view.caller, tenant, view.ports.clock.now()
        )
        return Subject(id=tenant, facts=facts, tenant=tenant, loaded=found)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The quote as of now. Errors as `quote`'s."""
        assert isinstance(command, PreviewChange)
        book = copied(view.connection, view.ports, command.tenant)
        quoted = quote(book, wanted_of(command), view.ports.clock.now(), "preview")
        return {"tenant": command.tenant, **_told(quoted)}


def _told(quoted: Quote) -> dict[str, Json]:
    return {
        **{name: plain(getattr(quoted, name)) for name in _TOLD},
        "currency": quoted.terms.currency,
        "lines": [_line(one) for one in quoted.lines],
    }


def _line(line: InvoiceLine) -> Json:
    return {name: plain(getattr(line, name)) for name in _LINE}
