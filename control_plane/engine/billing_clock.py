"""What time does to subscriptions: periods, trials, debts, and the collecting of money. Decides no call.

Each look at a tenant is two transactions with a provider in between. An attempt is committed as going
out before its provider hears of it, under an id that charges once; a worker that died in between is
followed by one that finds it past its deadline, and asks.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from control_plane.billing.book import Book
from control_plane.billing.clockwork import advance
from control_plane.billing.collecting import attempt_due_at, begin, question_due_at
from control_plane.billing.provider import PaymentContradiction
from control_plane.domain.canonical import instant
from control_plane.domain.payment import PaymentAttempt
from control_plane.engine.failpoints import Failpoints
from control_plane.errors import PaybillError, Unavailable
from control_plane.handlers import teller
from control_plane.handlers.billing_moves import closed_by_itself, opened, take_word
from control_plane.handlers.handler import Ports
from control_plane.store.billing_tables import billing_account

_LOG = logging.getLogger("paybill.billing")
BATCH_MAX: Final = 200
_AFTER_FAULT: Final = timedelta(minutes=5)


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
        going, asked = self._carry_on(tenant)
        self._failpoints.reach("billing.begun")
        for attempt in going:
            self._settle(attempt, teller.charge(self._ports, attempt))
        for attempt in asked:
            waits = attempt.state == "action_required"
            word = teller.close if waits else teller.ask
            self._settle(attempt, word(self._ports, attempt))

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

    def _carry_on(self, tenant: str) -> tuple[list[PaymentAttempt], list[PaymentAttempt]]:
        with self._ports.store.write(tenant) as connection:
            book = opened(connection, self._ports, tenant)
            now = self._ports.clock.now()
            asked = [
                one
                for one in book.attempts.values()
                if (at := question_due_at(book, one)) is not None and at <= now
            ]
            going = self._begun(book)
            advance(book, now)
            closed_by_itself(connection, self._ports, book)
        return going, asked

    def _begun(self, book: Book) -> list[PaymentAttempt]:
        now = self._ports.clock.now()
        begun: list[PaymentAttempt] = []
        for invoice in book.owed():
            at = attempt_due_at(book, invoice)
            if at is not None and at <= now:
                begun.append(begin(book, invoice.id, now))
        return [one for one in begun if one.state == "processing"]

    def _settle(self, attempt: PaymentAttempt, verdict: teller.Verdict) -> None:
        self._failpoints.reach("billing.asked")
        try:
            with self._ports.store.write(attempt.tenant) as connection:
                book = take_word(connection, self._ports, attempt, verdict)
                closed_by_itself(connection, self._ports, book)
        except PaymentContradiction as error:
            # Both words stand in the log; a human looks at them.
            _LOG.error("a provider contradicts itself about %s: %s", attempt.id, error.fact)
        self._failpoints.reach("billing.settled")
