"""What an event of Stripe's does to the attempt that it is about. Not the door it came by, and no call but a question."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Connection

from control_plane.billing.hook_rounds import SCOPE
from control_plane.billing.inbox import InboundEvent
from control_plane.billing.provider import (
    Answer,
    PaymentContradiction,
    order_of,
    probed,
    settled,
    unavailable,
)
from control_plane.billing.providers.stripe_events import read_event
from control_plane.domain.payment import PaymentAttempt
from control_plane.domain.terms import Method
from control_plane.handlers.billing_moves import attempt_of, closed_by_itself, take_word
from control_plane.handlers.handler import Ports
from control_plane.handlers.teller import Verdict

PROVIDER: Final = "stripe"
_LOG = logging.getLogger("paybill.billing")


class StripeWords:
    """The effect of Stripe's events, for one worker's thread: an event is looked at, then applied.

    The event is proven again, as of the instant at which it came: a row is no evidence.
    """

    def __init__(self, ports: Ports, secrets: Sequence[SecretStr]) -> None:
        self._ports = ports
        self._secrets = secrets
        self._word: tuple[str, PaymentAttempt, Verdict] | None = None

    def scope(self, event: InboundEvent) -> str | None:
        """The attempt's tenant. Asks Stripe where the event does not say how it ends.

        Here, since no transaction waits for the answer. Raises Unavailable or Unknown.
        """
        self._word = None
        found = read_event(self._secrets, event.headers, event.body, event.received_at)
        attempt = None if found is None else self._attempt(found.attempt)
        if found is None or attempt is None:
            return SCOPE
        verdict = self._asked(attempt) if found.answer is None else _told(found.answer)
        self._word = (event.id, attempt, verdict)
        return attempt.tenant

    def apply(self, connection: Connection, event: InboundEvent) -> str:
        """`settled`; `ignored` for an attempt that is not ours; `contradiction` for a human."""
        word, self._word = self._word, None
        if word is None or word[0] != event.id:
            return "ignored"
        _, attempt, verdict = word
        try:
            book = take_word(connection, self._ports, attempt, verdict)
        except PaymentContradiction as error:
            # Another try would hear the same: a human looks at both words.
            _LOG.error("a provider contradicts itself about %s: %s", attempt.id, error.fact)
            return "contradiction"
        closed_by_itself(connection, self._ports, book)
        return "settled"

    def _attempt(self, attempt_id: str) -> PaymentAttempt | None:
        with self._ports.store.read() as connection:
            found = attempt_of(connection, attempt_id)
        return found if found is not None and found.provider == PROVIDER else None

    def _asked(self, attempt: PaymentAttempt) -> Verdict:
        provider = (self._ports.payments or {}).get(PROVIDER)
        if provider is None:
            raise unavailable("there is no key to ask Stripe by")
        method = Method(provider=PROVIDER, reference=attempt.method_reference)
        answer = provider.ask(order_of(attempt, method))
        return lambda held, at: probed(held, answer, at)


def _told(answer: Answer) -> Verdict:
    return lambda held, at: settled(held, answer, at)
