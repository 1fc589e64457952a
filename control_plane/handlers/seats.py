"""Handlers of a tenant's seats: list them, assign one, release one. Not the rules of a pool, nor how it is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from control_plane.billing import seat_store, seats
from control_plane.billing.seats import Seat
from control_plane.commands import AssignSeat, Command, ListSeats, ReleaseSeat
from control_plane.data.cursor import open_end, seal_end
from control_plane.domain.call import Call
from control_plane.domain.canonical import Json, instant
from control_plane.domain.gate import GATES
from control_plane.errors import Refused
from control_plane.facts.load import subscription_row, tenant_row
from control_plane.facts.seat import SeatFacts
from control_plane.handlers.handler import BlindChange, Ports, Seen, SingleAnswer, Subject, View
from control_plane.ports import RowGate

READ_HOLDER: Final = "read_pii"
_FULL: Final = "Every seat is taken. Release one, or "


class _Scope(BaseModel):
    """What a cursor of a listing of seats holds for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    caller: str
    seats_of: str


def _subject(view: View, tenant: str, holder: str, acts: tuple[str, ...]) -> Subject:
    """The seats of a tenant as one object; as many statements whether it is there or not."""
    now, connection = view.ports.clock.now(), view.connection
    found = tenant_row(connection, tenant)
    subscription = subscription_row(connection, tenant)
    sizes = seat_store.sizes(subscription, view.ports.catalog.plans)
    level = "clear" if subscription is None else subscription.gate_level(now)
    held = seat_store.held(connection, tenant, now)
    seat = seat_store.seat_of(connection, tenant, holder, now)
    member = view.caller.member_of(tenant)
    facts = SeatFacts(exists=False, member=member)
    if found is not None:
        facts = SeatFacts(
            exists=True,
            member=member,
            access_mode=found.access_mode,
            billing_access=GATES[level].access_mode,
            tenant_state=found.state,
            size=sizes.size,
            assigned=held.assigned,
            reserved=held.reserved,
            holds=seat is not None,
        )
    extras = (READ_HOLDER,)
    return Subject(id=tenant, facts=facts, acts=acts, extras=extras, tenant=tenant, loaded=sizes)


def _counted(size: int, held: seat_store.Held) -> dict[str, Json]:
    return {
        "size": size,
        "assigned": held.assigned,
        "reserved": held.reserved,
        # After a pool was made smaller there may be more held than there are.
        "free": max(0, size - held.all),
    }


def _facts(subject: Subject) -> SeatFacts:
    assert isinstance(subject.facts, SeatFacts)
    return subject.facts


class ListSeatsHandler(SingleAnswer):
    """Lists who holds a seat, by holder; for whom holders are masked, that somebody does."""

    def subject(self, command: Command, view: View) -> Subject:
        """The seats of the tenant."""
        assert isinstance(command, ListSeats)
        return _subject(view, command.tenant, "", ())

    def answer(
        self,
        command: Command,
        view: View,
        subject: Subject,
        page: list[Subject],
        may: frozenset[str],
    ) -> dict[str, Json]:
        """A page of the seats, how many there are, and where the next page begins."""
        assert isinstance(command, ListSeats)
        key, scope = view.ports.cursor_key, _scope(command, view)
        # Sealed, because the page's end is a holder.
        after = "" if command.after is None else str(open_end(key, scope, command.after)[0])
        limit = min(command.limit, view.ports.limits.rows_max)
        found = seat_store.page(
            view.connection, command.tenant, view.ports.clock.now(), after=after, size=limit + 1
        )
        shown, facts = found[:limit], _facts(subject)
        held = seat_store.Held(facts.assigned, facts.reserved)
        return {
            "tenant": command.tenant,
            **_counted(facts.size, held),
            "seats": [_described(one, may) for one in shown],
            "next_after": seal_end(key, scope, [shown[-1].holder]) if found[limit:] else None,
        }


def _scope(command: ListSeats, view: View) -> _Scope:
    caller = f"{view.caller.principal}\0{view.caller.actor}"
    return _Scope(caller=caller, seats_of=command.tenant)


def _described(one: Seat, may: frozenset[str]) -> dict[str, Json]:
    return {
        "holder": _masked(one.holder, may),
        "state": one.held,
        "assigned_at": instant(one.since),
        "reserved_until": None if one.holder_ends_at is None else instant(one.holder_ends_at),
    }


def _masked(holder: str, may: frozenset[str]) -> str | None:
    return holder if READ_HOLDER in may else None


class _SeatChange(BlindChange):
    """What both changes have in common: they are the store's own, and answered with its counts."""

    outside = False

    def recover(self, call: Call, ports: Ports) -> Json:
        """Never asked: the change and its outcome are one transaction."""
        return None


def _told(view: View, tenant: str, holder: str, may: frozenset[str]) -> dict[str, Json]:
    plans = view.ports.catalog.plans
    sizes = seat_store.sizes(subscription_row(view.connection, tenant), plans)
    held = seat_store.held(view.connection, tenant, view.ports.clock.now())
    return {"tenant": tenant, "holder": _masked(holder, may), **_counted(sizes.size, held)}


class AssignSeatHandler(_SeatChange):
    """Gives a user of the tenant's a seat; who has one keeps it, and takes no second."""

    command_type: type[Command] = AssignSeat

    def subject(self, command: Command, view: View) -> Subject:
        """The seats of the tenant."""
        assert isinstance(command, AssignSeat)
        return _subject(view, command.tenant, command.holder, ("assign",))

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """Whether it would be a new seat. Refused (`seats_full`)."""
        assert isinstance(command, AssignSeat)
        size, now = _facts(subject).size, ports.clock.now()

        def planned() -> bool:
            with ports.store.read() as connection:
                before = seat_store.load_for(connection, command.tenant, command.holder, size, now)
            return len(seats.assign(before, command.holder, now).seats) > len(before.seats)

        return {"new": _saying_what_lifts(subject, planned)}

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The one seat that would be held."""
        assert isinstance(command, AssignSeat)
        return {"seats": {"change": "assign", "holder": command.holder, "new": seen["new"]}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Assign it by the size that the same transaction has read. Says nothing of who holds it."""
        assert isinstance(command, AssignSeat)
        inside, now = _inside(connection), datetime.fromisoformat(call.as_of)

        def assigned() -> bool:
            size, by = _facts(subject).size, call.principal
            return seat_store.assign(
                inside, command.tenant, command.holder, size=size, now=now, by=by
            )

        return {"new": _saying_what_lifts(subject, assigned)}

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The seats as they stand now, and whether this call took one."""
        assert isinstance(command, AssignSeat)
        return {**_told(view, command.tenant, command.holder, may), **_effect(effect)}


class ReleaseSeatHandler(_SeatChange):
    """Takes a user's seat back; nothing happens where they have none."""

    command_type: type[Command] = ReleaseSeat

    def subject(self, command: Command, view: View) -> Subject:
        """The seats of the tenant."""
        assert isinstance(command, ReleaseSeat)
        return _subject(view, command.tenant, command.holder, ("release",))

    def look(
        self,
        command: Command,
        subject: Subject,
        ports: Ports,
        rows: RowGate,
        may: frozenset[str],
    ) -> Seen:
        """Whether there is a seat to be released."""
        return {"released": _facts(subject).holds}

    def parts(
        self, command: Command, call: Call, subject: Subject, ports: Ports, seen: Seen
    ) -> dict[str, Json]:
        """The one seat that would be free."""
        assert isinstance(command, ReleaseSeat)
        told = {"holder": command.holder, "released": seen["released"]}
        return {"seats": {"change": "release", **told}}

    def affect(
        self,
        command: Command,
        call: Call,
        subject: Subject,
        ports: Ports,
        connection: Connection | None,
    ) -> Json:
        """Release it. Says nothing of whose it was."""
        assert isinstance(command, ReleaseSeat)
        inside, now = _inside(connection), datetime.fromisoformat(call.as_of)
        gone = seat_store.release(inside, command.tenant, command.holder, now=now)
        return {"released": gone}

    def answer(
        self, effect: Json, command: Command, view: View, may: frozenset[str]
    ) -> dict[str, Json]:
        """The seats as they stand now, and whether this call released one."""
        assert isinstance(command, ReleaseSeat)
        return {**_told(view, command.tenant, command.holder, may), **_effect(effect)}


def _inside(connection: Connection | None) -> Connection:
    assert connection is not None, "the change is the store's own"
    return connection


def _effect(effect: Json) -> dict[str, Json]:
    assert isinstance(effect, dict)
    return effect


def _saying_what_lifts(subject: Subject, rule: Callable[[], bool]) -> bool:
    # Whoever comes here may read the seats: so they may know what there would have to be.
    try:
        return rule()
    except Refused as error:
        sizes = subject.loaded
        assert isinstance(sizes, seat_store.Sizes)
        more = "take more seats" if sizes.size < sizes.size_max else "change to a larger plan"
        raise Refused(
            f"{_FULL}{more}.", code=error.code, rule=error.rule, fact=error.fact
        ) from None
