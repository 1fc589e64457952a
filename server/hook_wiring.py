"""The worker's rounds over webhooks, wired: what arrived is worked off, and what is due goes out. Holds no rule."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from control_plane.billing import inbox as inboxes
from control_plane.billing import outbox as outboxes
from control_plane.billing.hook_rounds import SCOPE, Effect, deliver_due, work_off
from control_plane.billing.inbox import Inbox
from control_plane.billing.outbox import Outbox
from control_plane.billing.sender import Sender
from control_plane.handlers.handler import Ports
from control_plane.handlers.stripe_words import PROVIDER, StripeWords
from control_plane.handlers.webhook_leaves import settled_with_leaf
from server.resolving import resolve
from server.settings import Settings
from server.stripe_secrets import stripe_webhook_secrets

_FORGETS_EVERY: Final = timedelta(hours=1)
_LOG = logging.getLogger("paybill.webhooks")


class HookRounds:
    """One worker's rounds, by one catalog; nothing is written where nothing is due."""

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        workspace_private: bytes,
        sender: Sender | None = None,
    ) -> None:
        self._ports = ports
        self._inbox = Inbox(workspace_private, ports.ids.new())
        self._outbox = Outbox(workspace_private)
        self._sender = sender or Sender(resolve)
        self._effects = _effects(ports, settings)
        self._forgets_at: datetime | None = None

    def step(self) -> int:
        """One round; how many events and attempts were brought to an end."""
        store, now = self._ports.store, self._ports.clock.now()
        with store.read() as connection:
            arrived = inboxes.waiting(connection, now)
            due = outboxes.waiting(connection, now)
        self._forget(now)
        return (self._arrived() if arrived else 0) + (self._sent() if due else 0)

    def _arrived(self) -> int:
        ports = self._ports
        worked = work_off(ports.store, self._inbox, self._effects, ports.clock.now)
        if worked.dead:
            _LOG.warning("%d events of providers are dead letters now", worked.dead)
        return sum(worked)

    def _sent(self) -> int:
        ports = self._ports
        settled = partial(settled_with_leaf, ports.recorder)
        sent = deliver_due(
            ports.store, self._outbox, self._sender, ports.clock.now, settled=settled
        )
        if sent.dead:
            _LOG.warning("%d messages are dead letters now", sent.dead)
        return sum(sent)

    def _forget(self, now: datetime) -> None:
        if self._forgets_at is not None and now < self._forgets_at:
            return
        self._forgets_at = now + _FORGETS_EVERY
        with self._ports.store.write(SCOPE) as connection:
            inboxes.forget(connection, now)
            outboxes.forget(connection, now)


def _effects(ports: Ports, settings: Settings) -> dict[str, Effect]:
    secrets = stripe_webhook_secrets(settings)
    return {PROVIDER: StripeWords(ports, secrets)} if secrets else {}
