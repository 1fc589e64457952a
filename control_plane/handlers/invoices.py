"""The handlers that list a tenant's invoices and read one. Not how an invoice comes about, nor its page.

A draft has no number and is nobody's to pay yet: it is read by its id, and not listed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from control_plane.billing.amounts import money_text, quantity_text, unit_price_text
from control_plane.billing.collecting import acts_until
from control_plane.commands import Command
from control_plane.domain.canonical import Json, instant, plain
from control_plane.domain.credit_note import CreditNote
from control_plane.domain.invoice import Invoice, InvoiceLine
from control_plane.domain.money import Money
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.record import Record
from control_plane.domain.refund import Refund
from control_plane.domain.tax import InvoiceTax, TaxCharged
from control_plane.facts.invoice import InvoiceFacts
from control_plane.facts.load import subscription_row
from control_plane.handlers.handler import SingleAnswer, Subject, View
from control_plane.handlers.newest import Newest
from control_plane.store import rows
from control_plane.store.billing_tables import credit_note, invoice, payment_attempt, refund
from control_plane.subscription_commands import GetInvoice, ListInvoices

LINES_SHOWN_MAX: Final = 1_000


def invoices_subject(view: View, tenant: str) -> Subject:
    """All of a tenant's invoices as one object, there where the tenant has a subscription."""
    found = subscription_row(view.connection, tenant)
    facts = InvoiceFacts(exists=found is not None, member=view.caller.member_of(tenant))
    return Subject(id=tenant, facts=facts, tenant=tenant, loaded=found)


class _Listed(Record):
    """An invoice that is final, without its lines."""

    id: str
    tenant: str
    number: str
    state: str
    currency: str
    total_minor: int
    allocated_minor: int
    credited_minor: int
    period_start: str | None
    period_end: str | None
    finalized_at: str
    due_at: str | None

    @property
    def invoice(self) -> Invoice:
        """The same as the rules know it."""
        return Invoice.model_validate_json(self.model_dump_json())


class ListInvoicesHandler:
    """Lists a tenant's final invoices, the newest first."""

    _NEWEST = Newest(_Listed, invoice.c.finalized_at, invoice.c.id)

    def subject(self, command: Command, view: View) -> Subject:
        """The tenant's invoices as a whole; each is decided on its own."""
        assert isinstance(command, ListInvoices)
        return invoices_subject(view, command.tenant)

    def page(self, command: Command, view: View) -> list[Subject]:
        """The invoices of one scan."""
        assert isinstance(command, ListInvoices)
        now, member = view.ports.clock.now(), view.caller.member_of(command.tenant)
        final = (invoice.c.tenant == command.tenant) & invoice.c.finalized_at.is_not(None)

        def subject(row: _Listed) -> Subject:
            facts = _facts(row.invoice, member, now)
            return Subject(id=row.id, facts=facts, tenant=row.tenant, loaded=row)

        return self._NEWEST.page(command, view, final, subject)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The invoices, and where the next page begins."""
        assert isinstance(command, ListInvoices)
        found, following = self._NEWEST.listed(command, view, page)
        now = view.ports.clock.now()
        return {
            "tenant": command.tenant,
            "invoices": [_standing(one.invoice, now) for one in found],
            "next_after": following,
        }


class GetInvoiceHandler(SingleAnswer):
    """Reads one invoice, with its lines, its credit notes and how it was collected."""

    def subject(self, command: Command, view: View) -> Subject:
        """The invoice, there or not; another tenant's is not there."""
        assert isinstance(command, GetInvoice)
        found = rows.by(view.connection, invoice.c.id, Invoice, command.invoice)
        member = view.caller.member_of(command.tenant)
        facts = InvoiceFacts(exists=False, member=member)
        if found is not None and found.tenant == command.tenant:
            facts = _facts(found, member, view.ports.clock.now())
        return Subject(id=command.invoice, facts=facts, tenant=command.tenant, loaded=found)

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The invoice as it stands now: amounts in minor units, and as text to show."""
        assert isinstance(subject.loaded, Invoice), "the subject was decided to exist"
        found, connection = subject.loaded, view.connection
        attempts = attempts_of(connection, found.id)
        providers = {one.id: one.provider for one in attempts}
        refunds = {
            one.credit_note: _refund(one, providers[one.attempt])
            for one in refunds_of(connection, found.id)
        }
        return {
            "tenant": found.tenant,
            **_standing(found, view.ports.clock.now()),
            "total": _text(found, found.total_minor),
            "due": _text(found, found.due_minor),
            "paid_minor": found.allocated_minor,
            "credited_minor": found.credited_minor,
            "billing_details": plain(found.buyer),
            "tax": None if found.tax is None else _tax(found.tax),
            "lines": [_line(one) for one in found.lines[:LINES_SHOWN_MAX]],
            "lines_count": len(found.lines),
            "credit_notes": [
                _note(one) | {"refund": refunds.get(one.id)}
                for one in credit_notes_of(connection, found.id)
            ],
            "attempts": [_attempt(one) for one in attempts],
            "next_attempt_at": plain(found.next_attempt_at),
        }


def credit_notes_of(connection: Connection, invoice_id: str) -> list[CreditNote]:
    """An invoice's credit notes, in the order of their issue."""
    table = credit_note
    return rows.every(
        connection, table, CreditNote, table.c.invoice == invoice_id, order_by=table.c.issued_at
    )


def attempts_of(connection: Connection, invoice_id: str) -> list[PaymentAttempt]:
    """The attempts at collecting an invoice, by their numbers."""
    table = payment_attempt
    return rows.every(
        connection, table, PaymentAttempt, table.c.invoice == invoice_id, order_by=table.c.number
    )


def refunds_of(connection: Connection, invoice_id: str) -> list[Refund]:
    """What of an invoice goes back by the way it was paid."""
    return rows.every(connection, refund, Refund, refund.c.invoice == invoice_id)


def _facts(found: Invoice, member: bool, now: datetime) -> InvoiceFacts:
    return InvoiceFacts(exists=True, member=member, state=found.state, overdue=found.overdue(now))


def _tax(one: InvoiceTax) -> Json:
    return {
        "rules": one.rules,
        "seller": plain(one.seller),
        "customer": plain(one.customer),
        "amount_minor": one.amount_minor,
        "charged": [_charged(each) for each in one.charged],
    }


def _charged(one: TaxCharged) -> Json:
    return {
        "jurisdiction": one.jurisdiction,
        "rate_percent": quantity_text(one.rate_percent),
        "reason": one.reason,
        "taxable_minor": one.taxable_minor,
        "amount_minor": one.amount_minor,
    }


def _standing(found: Invoice, now: datetime) -> dict[str, Json]:
    return {
        "id": found.id,
        "number": found.number,
        "state": found.state,
        "currency": found.currency,
        "total_minor": found.total_minor,
        "due_minor": found.due_minor,
        "due_at": plain(found.due_at),
        "finalized_at": plain(found.finalized_at),
        "period_start": plain(found.period_start),
        "period_end": plain(found.period_end),
        "overdue": found.overdue(now),
    }


def _text(found: Invoice, minor: int) -> str:
    return money_text(Money(minor=minor, currency=found.currency))


def _line(one: InvoiceLine) -> Json:
    price = one.unit_price
    return {
        "id": one.id,
        "kind": one.kind,
        "reference": one.reference,
        "description": one.description,
        "quantity": quantity_text(one.quantity),
        "unit_price": None if price is None else unit_price_text(price, one.currency),
        "amount_minor": one.amount_minor,
        "amount": money_text(Money(minor=one.amount_minor, currency=one.currency)),
        "period_start": plain(one.period_start),
        "period_end": plain(one.period_end),
        "reverses": one.reverses,
    }


def _refund(one: Refund, provider: str) -> Json:
    return {
        "state": one.state,
        "provider": provider,
        "decline_code": one.decline_code or None,
        "asked": one.asked,
        "changed_at": instant(one.changed_at),
    }


def _note(one: CreditNote) -> dict[str, Json]:
    return {
        "id": one.id,
        "number": one.number,
        "kind": one.kind,
        "reason": one.reason,
        "amount_minor": one.amount_minor,
        "amount": money_text(Money(minor=one.amount_minor, currency=one.currency)),
        "tax_minor": sum(each.amount_minor for each in one.taxes or ()),
        "issued_at": instant(one.issued_at),
    }


def _attempt(one: PaymentAttempt) -> Json:
    # Neither the provider's name for it nor its token for the method: nobody's to read.
    waits = one.state == "action_required"
    return {
        "number": one.number,
        "state": one.state,
        "provider": one.provider,
        "failure": one.failure,
        "decline_code": one.decline_code or None,
        "amount_minor": one.amount_minor,
        "amount": money_text(Money(minor=one.amount_minor, currency=one.currency)),
        "created_at": instant(one.created_at),
        "changed_at": instant(one.changed_at),
        "action_url": one.action_url,
        "action_until": instant(acts_until(one)) if waits else None,
    }
