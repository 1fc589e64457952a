"""Handlers by which a tenant's services learn where its database is, and say that they follow. Not the credential."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.database_commands import AcknowledgeConnection, GetConnection
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, instant
from control_plane.domain.handover import Address, Handover, half_of
from control_plane.domain.home import MAIN, Home
from control_plane.errors import Refused
from control_plane.facts.connection import ConnectionFacts
from control_plane.facts.load import tenant_row
from control_plane.handlers.database_rows import database_row, serving
from control_plane.handlers.handler import BlindChange, Ports, Seen, SingleAnswer, Subject, View
from control_plane.handlers.handovers import handed
from control_plane.store import rows
from control_plane.store.database_tables import handover

_CALLERS_CHARS: Final = 200


class GetConnectionHandler(SingleAnswer):
    """Tells where the tenant's database is, under which credential, and what may be done in it."""

    def subject(self, command: Command, view: View) -> Subject:
        """What the tenant's services were handed, if anything."""
        assert isinstance(command, GetConnection)
        return _subject(command.tenant, view, ())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """The version in force; never the secret, but where it lies."""
        assert isinstance(command, GetConnection)
        assert isinstance(subject.loaded, Handover), "the subject was decided to exist"
        known = subject.loaded
        told: dict[str, Json] = {
            "tenant": known.tenant,
            "version": known.version,
            "access": known.access,
            "acknowledged_version": known.acked_version,
            "changed_at": known.changed_at,
            "secret": known.secret or None,
        }
        home = _home(view.connection, known)
        return {**told, **_address(view.ports, known, home)}


class AcknowledgeConnectionHandler(BlindChange):
    """Writes down that the tenant's services follow a version: nothing of theirs uses an earlier one."""

    outside = False
    command_type: type[Command] = AcknowledgeConnection

    def subject(self, command: Command, view: View) -> Subject:
        """What the tenant's services were handed, if anything."""
        assert isinstance(command, AcknowledgeConnection)
        return _subject(command.tenant, view, ("acknowledge",))

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """Which version is followed."""
        assert isinstance(command, AcknowledgeConnection)
        return {"connection": {"followed": command.version}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Say so; an earlier version than one that is followed already changes nothing."""
        assert isinstance(command, AcknowledgeConnection)
        assert connection is not None, "it is the store's own"
        known = handed(connection, command.tenant)
        if known is None or command.version > known.version:
            raise Refused(
                "There is no such version yet.", code="version_ahead", rule="handover.version"
            )
        is_later = command.version > known.acked_version
        if is_later:
            table = handover.c
            asserted = (table.tenant == known.tenant) & (table.acked_version < command.version)
            at = instant(datetime.fromisoformat(call.as_of))
            rows.change(
                connection,
                handover,
                asserted,
                acked_version=command.version,
                acked_at=at,
                acked_by=call.principal[:_CALLERS_CHARS],
            )
        followed = max(command.version, known.acked_version)
        return {
            "tenant": known.tenant,
            "version": known.version,
            "acknowledged_version": followed,
            "changed": is_later,
        }

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """Which version is followed now."""
        assert isinstance(effect, dict)
        return effect


def _subject(tenant: str, view: View, acts: tuple[str, ...]) -> Subject:
    known = handed(view.connection, tenant)
    facts = ConnectionFacts(exists=known is not None, member=view.caller.member_of(tenant))
    return Subject(id=tenant, facts=facts, acts=acts, tenant=tenant, loaded=known)


def _home(connection: Connection, known: Handover) -> Home | None:
    if (found := database_row(connection, known.database_id)) is not None:
        return found.home
    # It stood before there were rows of databases.
    tenant = tenant_row(connection, known.tenant)
    standing = None if tenant is None else serving(connection, tenant)
    return None if standing is None else standing.home


def _address(ports: Ports, known: Handover, home: Home | None) -> dict[str, Json]:
    nothing: dict[str, Json] = dict.fromkeys(("server", *Address._fields))
    if home is None or (known.access == "none" and not known.half):
        return nothing
    engine = ports.databases.at(home)
    found = engine.direct_address(known.tenant, home.isolation, half_of(known.half))
    told: dict[str, Json] = {"server": home.server, **found._asdict()}
    if found.engine == "postgres" and home.server == MAIN:
        # Where services reach it, which need not be where we do.
        told["host"] = ports.handover.host or found.host
        told["port"] = ports.handover.port or found.port
    return told if known.half or found.engine == "sqlite" else {**told, "user": None}
