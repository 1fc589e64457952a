"""The handler that sets a freeze or lifts one. Not what a freeze keeps from beginning: see freezes.py."""

from __future__ import annotations

from sqlalchemy import Connection

from control_plane.commands import ChangeFreeze, Command
from control_plane.domain.call import Call
from control_plane.domain.caller import EVERY_TENANT
from control_plane.domain.canonical import Json
from control_plane.facts.freeze import FreezeFacts
from control_plane.facts.load import tenant_row
from control_plane.handlers import freezes
from control_plane.handlers.freezes import Freeze
from control_plane.handlers.handler import BlindChange, Ports, Seen, Subject, View


class ChangeFreezeHandler(BlindChange):
    """Writes the one row, with its leaf, in the transaction of the call."""

    outside = False
    command_type: type[Command] = ChangeFreeze

    def subject(self, command: Command, view: View) -> Subject:
        """The freeze, in force or not; of a tenant, there only where the tenant is."""
        asked = _asked(command)
        tenant = asked.of if asked.scope == "tenant" else ""
        # Asked of every scope: it takes as many statements.
        found = tenant_row(view.connection, tenant)
        stands = _standing(view.connection, asked)
        facts = FreezeFacts(
            exists=found is not None or asked.scope != "tenant",
            member=view.caller.member_of(tenant) if tenant else _of_all(view),
            scope=asked.scope,
            frozen=stands is not None,
        )
        name = f"{asked.scope}.{asked.of}" if asked.of else asked.scope
        act = "set" if asked.on else "lift"
        return Subject(id=name, facts=facts, acts=(act,), tenant=tenant, loaded=stands)

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The one row that would change."""
        asked = _asked(command)
        return {"rows": {"freeze": subject.id, "frozen": asked.on, "reason": asked.reason}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Set it, or lift it; one that is in force is set anew, with this reason."""
        assert connection is not None, "the row is in our own store"
        asked = _asked(command)
        freeze = Freeze(
            scope=asked.scope, of=asked.of, reason=asked.reason, by=call.principal, at=call.as_of
        )
        change = freezes.put if asked.on else freezes.lift
        change(connection, ports.recorder, freeze)
        return {**freeze.model_dump(mode="json"), "frozen": asked.on}

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """How it was left."""
        assert isinstance(effect, dict), "it is what was written"
        return dict(effect)


def _asked(command: Command) -> ChangeFreeze:
    assert isinstance(command, ChangeFreeze)
    return command


def _of_all(view: View) -> bool:
    return EVERY_TENANT in view.caller.tenants


def _standing(connection: Connection, asked: ChangeFreeze) -> Freeze | None:
    known = freezes.freezes(connection)
    return next((one for one in known if (one.scope, one.of) == (asked.scope, asked.of)), None)
