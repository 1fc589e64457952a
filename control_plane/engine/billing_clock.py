"""What time does to subscriptions: periods, trials, debts, and the collecting of money. Decides no call.

Each look at a tenant is two transactions with a provider in between. An attempt is committed as going
out before its provider hears of it, under an id that charges once; a worker that died in between is
followed by one that finds it past its deadline, and asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import acts_until, attempt_due_at, begin, question_due_at
from control_plane.billing.provider import PaymentContradiction
from control_plane.billing.refunding import refund_due_at
from control_plane.domain.canonical import instant
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.refund import Refund
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import PaybillError, Unavailable
from control_plane.handlers import teller
from control_plane.handlers.billing_moves import (
    attempt_of,
    closed_by_itself,
    opened,
    take_refund_word,
    take_word,
)
from control_plane.handlers.handler import Ports
from control_plane.store.billing_tables import billing_account

_LOG = logging.getLogger("paybill.billing")
BATCH_MAX: Final = 200
_AFTER_FAULT: Final = timedelta(minutes=5)


class _Due(NamedTuple):
    """What a look has to put to providers: attempts that go out, those asked about, and refunds."""

    going: list[PaymentAttempt]
    asked: list[PaymentAttempt]
    promised: list[Refund]


class BillingClock:
    """Looks at every tenant for whom something has fallen due; each boundary is a failpoint."""

    def __init__(self, ports: Ports, failpoints: Failpoints) -> None:
        self._ports = ports
        self._failpoints = failpoints
        self._put_off: dict[str, datetime] = {}

    def step(self) -> int:
        """Look at the tenants that are due, at most 200; how many it was.

        One whose look fails is told of in the log, and never keeps the others waiting.
        """
        now = self._ports.clock.now()
        self._put_off = {tenant: until for tenant, until in self._put_off.items() if until > now}
        due = [tenant for tenant in self._due() if tenant not in self._put_off]
        for tenant in due:
            try:
                self.look(tenant)
            except Unavailable:
                # The store itself: whoever comes next would fail the same way.
                raise
            except PaybillError as error:
                _LOG.warning("the billing of %s was not carried on: %s", tenant, error.code)
                self._put_off[tenant] = now + _AFTER_FAULT
        return len(due)

    def look(self, tenant: str) -> None:
        """Carry on one tenant's billing: what is due by now, then what its providers say."""
        due = self._carry_on(tenant)
        self._failpoints.reach("billing.begun")
        for attempt in due.going:
            self._settle(attempt, teller.charge(self._ports, attempt))
        for attempt in due.asked:
            word = teller.close if self._waits_too_long(attempt) else teller.ask
            self._settle(attempt, word(self._ports, attempt))
        for refund in due.promised:
            self._give_back(refund)

    def _waits_too_long(self, attempt: PaymentAttempt) -> bool:
        waits = attempt.state == "action_required"
        return waits and acts_until(attempt) <= self._ports.clock.now()

    def _due(self) -> list[str]:
        now = instant(self._ports.clock.now())
        table = billing_account
        wanted = (
            select(table.c.tenant)
            .where(table.c.next_due_at <= now)
            .order_by(table.c.next_due_at, table.c.tenant)
            .limit(BATCH_MAX)
        )
        with self._ports.store.read() as connection:
            return list(connection.execute(wanted).scalars())

    def _carry_on(self, tenant: str) -> _Due:
        with self._ports.store.write(tenant) as connection:
            book = opened(connection, self._ports, tenant)
            now = self._ports.clock.now()
            asked = [
                one
                for one in book.attempts.values()
                if (at := question_due_at(book, one)) is not None and at <= now
            ]
            promised = [
                one
                for one in book.refunds.values()
                if (at := refund_due_at(one)) is not None and at <= now
            ]
            going = self._begun(book)
            advance(book, now)
            closed_by_itself(connection, self._ports, book)
        return _Due(going, asked, promised)

    def _begun(self, book: Book) -> list[PaymentAttempt]:
        now = self._ports.clock.now()
        method = book.subscription.method
        if method is not None and not teller.has(self._ports, method.provider):
            return self._not_here(book, method.provider, now)
        begun: list[PaymentAttempt] = []
        for invoice in book.owed():
            at = attempt_due_at(book, invoice)
            if at is not None and at <= now:
                begun.append(begin(book, invoice.id, now))
        return [one for one in begun if one.state == "processing"]

    def _not_here(self, book: Book, provider: str, now: datetime) -> list[PaymentAttempt]:
        """Nothing goes out: that a worker was started without a provider is no fault of the tenant's."""
        due = (attempt_due_at(book, one) for one in book.owed())
        if any(at is not None and at <= now for at in due):
            _LOG.error("nothing is collected for %s: no provider %s here", book.tenant, provider)
            self._put_off[book.tenant] = now + _AFTER_FAULT
        return []

    def _settle(self, attempt: PaymentAttempt, verdict: teller.Verdict) -> None:
        def taken(connection: Connection) -> Book:
            return take_word(connection, self._ports, attempt, verdict)

        self._write_down(attempt.tenant, attempt.id, taken)

    def _give_back(self, promised: Refund) -> None:
        with self._ports.store.read() as connection:
            attempt = attempt_of(connection, promised.attempt)
        assert attempt is not None, "attempts are never deleted"
        verdict = teller.refund(self._ports, promised, attempt)

        def taken(connection: Connection) -> Book:
            return take_refund_word(connection, self._ports, promised, verdict)

        self._write_down(promised.tenant, promised.id, taken)

    def _write_down(self, tenant: str, about: str, taken: Callable[[Connection], Book]) -> None:
        self._failpoints.reach("billing.asked")
        try:
            with self._ports.store.write(tenant) as connection:
                closed_by_itself(connection, self._ports, taken(connection))
        except PaymentContradiction as error:
            # Both words stand in the log; a human looks at them, and nobody asks on without a pause.
            _LOG.error("a provider contradicts itself about %s: %s", about, error.fact)
            self._put_off[tenant] = self._ports.clock.now() + _AFTER_FAULT
        self._failpoints.reach("billing.settled")
