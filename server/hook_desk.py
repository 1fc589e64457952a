"""Endpoints of a workspace's webhooks as its operator keeps them, each act recorded. Not the sending, nor a command."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection

from control_plane.audit.leaf import Guard
from control_plane.audit.recorder import guard
from control_plane.billing import inbox, letters, outbox, webhook_endpoints
from control_plane.billing.outbox import Message
from control_plane.billing.public_address import PORTS
from control_plane.billing.webhook_endpoints import ROTATION_OVERLAP, Endpoint, NewEndpoint
from control_plane.billing.webhooks import new_secret
from control_plane.domain.canonical import Json, instant
from control_plane.domain.delivery import Delivery
from control_plane.domain.near_names import did_you_mean
from control_plane.errors import BadInput, NotFound
from control_plane.facts.load import tenant_row
from control_plane.handlers.billing_messages import FAMILY, KINDS
from control_plane.handlers.webhook_leaves import TABLE
from control_plane.ports import Clock, Ids, Recorder

EVERY: Final = "*"
"""Every tenant, or every kind."""
TEST_KIND: Final = "webhook.test"
TEST_TENANT: Final = "example"
"""Of whom a test message tells where the endpoint is the workspace's."""
SECRET_BYTES: Final = 32
REPLAYED_MAX: Final = letters.LETTERS_MAX
_NO_OVERLAP: Final = timedelta(0)


@dataclass(frozen=True)
class HookDesk:
    """What an operator does with endpoints and dead letters, in the transaction that is given.

    A secret is returned once, to be shown; what is kept and recorded never holds it in the clear.
    Every method raises NotFound (`endpoint_absent`) for an endpoint that is not there any more.
    """

    workspace_public: bytes
    recorder: Recorder
    clock: Clock
    ids: Ids
    ports: frozenset[int] = PORTS
    random: Callable[[int], bytes] = secrets.token_bytes

    def add(
        self, connection: Connection, url: str, tenant: str, kinds: tuple[str, ...]
    ) -> tuple[Endpoint, SecretStr]:
        """Register an endpoint of a tenant, or with `*` of the workspace; it and its secret.

        BadInput for a URL, or a kind that nothing is told of; NotFound (`tenant_absent`); Refused:
        `address_not_public`, `endpoints_full`.
        """
        owner = "" if tenant == EVERY else tenant
        if owner and tenant_row(connection, owner) is None:
            raise NotFound("there is no such tenant", code="tenant_absent")
        _require_told(kinds)
        try:
            asked = NewEndpoint(id=f"we_{self.ids.new()}", tenant=owner, url=url, kinds=kinds)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise BadInput(str(first["loc"][0]), first["msg"]) from None
        secret = self._secret()
        now = self.clock.now()
        made = webhook_endpoints.register(
            connection, self.workspace_public, asked, secret, now, self.ports
        )
        told: dict[str, Json] = {"url": made.url, "kinds": list(made.kinds)}
        self._record(connection, "webhook.added", made, told, ())
        return made, secret

    def rotate(
        self, connection: Connection, endpoint_id: str, *, at_once: bool = False
    ) -> tuple[Endpoint, SecretStr]:
        """A new secret; the one before signs for 24 h longer, or `at_once` not any more.

        Refused (`rotation_open`) while an earlier one still signs, unless `at_once`.
        """
        found = self._found(connection, endpoint_id)
        secret = self._secret()
        overlap = _NO_OVERLAP if at_once else ROTATION_OVERLAP
        now = self.clock.now()
        made = webhook_endpoints.rotate(
            connection, self.workspace_public, endpoint_id, secret, now, overlap
        )
        until = None if made.former_until is None else instant(made.former_until)
        self._record(connection, "webhook.rotated", made, {"former_until": until}, found)
        return made, secret

    def disable(self, connection: Connection, endpoint_id: str) -> Endpoint:
        """Send nothing there until it is enabled again."""
        found = self._found(connection, endpoint_id)
        now = self.clock.now()
        made = webhook_endpoints.disable(connection, endpoint_id, "asked", now)
        self._record(connection, "webhook.disabled", made, {}, found)
        return made

    def enable(self, connection: Connection, endpoint_id: str) -> Endpoint:
        """Send there again, also after it answered 410."""
        found = self._found(connection, endpoint_id)
        made = webhook_endpoints.enable(connection, endpoint_id)
        self._record(connection, "webhook.enabled", made, {}, found)
        return made

    def remove(self, connection: Connection, endpoint_id: str) -> Endpoint:
        """End it for good; what waits for it is not sent any more."""
        made, found = self.standing(connection, endpoint_id), self._found(connection, endpoint_id)
        webhook_endpoints.remove(connection, endpoint_id, self.clock.now())
        self._record(connection, "webhook.removed", made, {}, found)
        return made

    def test(self, connection: Connection, endpoint_id: str) -> str:
        """Have the worker send a message of the kind `webhook.test` there; the delivery's id.

        It is sent whatever kinds were asked for. Refused: `endpoint_disabled`.
        """
        made = self.standing(connection, endpoint_id)
        message = Message(
            id=self.ids.new(),
            tenant=made.tenant or TEST_TENANT,
            kind=TEST_KIND,
            data={"endpoint": made.id},
            made_at=self.clock.now(),
        )
        delivery = outbox.publish_to(connection, message, endpoint_id)
        self._record(connection, "webhook.tested", made, {"delivery": delivery})
        return delivery

    def replay(self, connection: Connection, delivery_id: str) -> Delivery:
        """Try a dead letter again. NotFound (`delivery_absent`); IllegalTransition; Refused: `endpoint_disabled`."""
        found = outbox.find(connection, delivery_id)
        if found is None:
            raise NotFound("there is no such dead letter", code="delivery_absent")
        made = self.standing(connection, found.endpoint)
        waiting = outbox.replay(connection, delivery_id, self.clock.now())
        self._record(connection, "webhook.replayed", made, {"deliveries": [delivery_id]})
        return waiting

    def replay_since(self, connection: Connection, endpoint_id: str, since: datetime) -> int:
        """Try the dead letters of an endpoint again that tell of what happened at `since` or later.

        How many it was, at most 1,000, the oldest first. Refused: `endpoint_disabled`.
        """
        made = self.standing(connection, endpoint_id)
        dead = letters.dead(connection, endpoint_id, since, REPLAYED_MAX)
        named = [one.delivery.id for one in dead]
        for one in named:
            outbox.replay(connection, one, self.clock.now())
        if named:
            told: dict[str, Json] = {"deliveries": list(named), "since": instant(since)}
            self._record(connection, "webhook.replayed", made, told)
        return len(named)

    def replay_event(self, connection: Connection, provider: str, event_id: str) -> None:
        """Work off a provider's dead event again. NotFound (`event_absent`); Refused: `webhook_forgotten`."""
        try:
            inbox.replay(connection, provider, event_id, self.clock.now())
        except NotFound:
            raise NotFound("there is no such event", code="event_absent") from None
        payload: dict[str, Json] = {"provider": provider, "event": event_id}
        self.recorder.record(connection, "webhook.event_replayed", "", payload)

    def standing(self, connection: Connection, endpoint_id: str) -> Endpoint:
        """The endpoint, unless it was removed."""
        found = webhook_endpoints.find(connection, endpoint_id)
        if found is None or found.removed_at is not None:
            raise NotFound("there is no such endpoint", code="endpoint_absent")
        return found

    def _secret(self) -> SecretStr:
        return new_secret(self.random(SECRET_BYTES))

    def _record(
        self,
        connection: Connection,
        kind: str,
        endpoint: Endpoint,
        told: dict[str, Json],
        found: tuple[Guard, ...] | None = None,
    ) -> None:
        """With `found`, how the row stood before this act: the leaf vouches for how it stands now."""
        payload: dict[str, Json] = {"endpoint": endpoint.id, **told}
        named = () if found is None else ((TABLE, endpoint.id),)
        self.recorder.record(connection, kind, endpoint.tenant, payload, named, found or ())

    def _found(self, connection: Connection, endpoint_id: str) -> tuple[Guard, ...]:
        self.standing(connection, endpoint_id)
        return (guard(connection, TABLE, endpoint_id),)


def _require_told(kinds: tuple[str, ...]) -> None:
    # An endpoint that waits for what is never told would look as if nothing happened.
    for kind in kinds:
        stem = kind.removesuffix("*")
        if kind != EVERY and not _is_told(kind, stem):
            raise BadInput(
                "kinds",
                f"must be *, one of {', '.join(KINDS)}, {FAMILY}*, or the beginning of one and .*"
                f"{did_you_mean(kind, KINDS)}",
            )


def _is_told(kind: str, stem: str) -> bool:
    if kind.startswith(FAMILY):
        return True
    return kind in KINDS or (stem != kind and any(one.startswith(stem) for one in KINDS))
