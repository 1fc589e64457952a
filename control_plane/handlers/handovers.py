"""What a tenant's own services are handed: the row of it, their credentials, and what these may. No lifecycle itself.

A credential is known to nobody but the place where it is left: it is made, left there and granted in
one go, and made anew where any of that was cut off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import Connection

from control_plane.domain.canonical import Json, instant
from control_plane.domain.database import Database
from control_plane.domain.handover import Access, Half, Handover, half_of, other_half
from control_plane.domain.home import Home
from control_plane.errors import Failed, Refused
from control_plane.handlers.database_rows import serving
from control_plane.handlers.handler import Probe, Work
from control_plane.handlers.tenant_moves import inside_of, noted_now, tenant_now, tenant_of
from control_plane.secrets.secret_place import new_secret, reference_of
from control_plane.store import rows
from control_plane.store.database_tables import handover

_PAUSE_S: Final = 0.05


def handed(connection: Connection, tenant: str) -> Handover | None:
    """What the tenant's services were told last; None where they never were."""
    return rows.by(connection, handover.c.tenant, Handover, tenant)


@dataclass(frozen=True, slots=True)
class Credential:
    """One half of a tenant's, in one place; ``reference`` is where its secret lies, or nothing."""

    home: Home
    half: Half
    reference: str

    def json(self) -> dict[str, Json]:
        """As a step notes it."""
        return {"home": [*self.home], "half": self.half, "secret": self.reference}

    @classmethod
    def noted(cls, note: object) -> Credential:
        """From a step's note."""
        assert isinstance(note, dict), "the step is done"
        told = cast("dict[str, object]", note)
        isolation, server, slot = cast("tuple[str, str, int]", told["home"])
        home = Home(isolation, server, slot)  # type: ignore[arg-type]
        return cls(home, half_of(told["half"]), str(told["secret"]))


def next_credential(connection: Connection, tenant: str, home: Home) -> Credential:
    """The half that is free, for the version that comes next."""
    known = handed(connection, tenant)
    half = other_half(known.half if known is not None else "")
    version = 1 if known is None else known.version + 1
    return Credential(home, half, reference_of(tenant, half, version))


# Outside ---------------------------------------------------------------------------------------


def make(work: Work, credential: Credential, access: Access = "full") -> None:
    """Leave a new secret where the services fetch it, let its half in, and try it.

    Nothing where there is nothing to log in to. What an earlier try has made goes first: so a half
    that stands is one whose secret lies in its place.
    """
    tenant, (home, half, reference) = work.run.tenant, _parts(credential)
    engine, place = work.ports.databases.at(home), work.ports.secrets
    if place is None or not logs_in(work, home):
        return
    engine.revoke_direct(tenant, home.isolation, half)
    secret = new_secret()
    place.put(reference, secret)
    engine.grant_direct(tenant, home.isolation, half, secret, access)
    if access != "none":
        engine.try_direct(tenant, home.isolation, half, secret)


def unmake(work: Work, credential: Credential) -> None:
    """Let nobody in by it any more, and take its secret away; again changes nothing."""
    tenant, (home, half, reference) = work.run.tenant, _parts(credential)
    if work.ports.secrets is None or not logs_in(work, home):
        return
    work.ports.databases.at(home).revoke_direct(tenant, home.isolation, half)
    if reference:
        work.ports.secrets.drop(reference)


def probe(work: Work, credential: Credential) -> Probe:
    """Whether it lets in."""
    home = credential.home
    if work.ports.secrets is None or not logs_in(work, home):
        return "present"
    halves = work.ports.databases.at(home).direct_halves(work.run.tenant, home.isolation)
    return "present" if credential.half in halves else "absent"


def limit(work: Work, access: Access) -> None:
    """Have the tenant's services do that and no more, in the database that serves it."""
    home = tenant_now(work).home
    patience_s = work.ports.handover.patience_s
    engine = work.ports.databases.at(home)
    engine.limit_direct(work.run.tenant, home.isolation, access, patience_s)


def is_held(work: Work, access: Access) -> bool:
    """Whether the tenant's services can do that and no more."""
    home = tenant_now(work).home
    halves = work.ports.databases.at(home).direct_halves(work.run.tenant, home.isolation)
    return all(may == access for may in halves.values())


def logs_in(work: Work, home: Home) -> bool:
    """Whether there is anything to log in to there."""
    address = work.ports.databases.at(home).direct_address(work.run.tenant, home.isolation, "a")
    return address.user is not None


# The row ---------------------------------------------------------------------------------------


def hand_over(
    work: Work, connection: Connection, credential: Credential, access: Access = "full"
) -> int:
    """Tell the tenant's services the next version: this database, by this credential."""
    found = serving(connection, tenant_of(work, connection))
    if found is None:
        raise Refused("The tenant has no database.", code="no_database", fact="state")
    made = logs_in(work, credential.home) and work.ports.secrets is not None
    half, secret = (credential.half, credential.reference) if made else ("", "")
    return _tell(work, connection, found, access=access, half=half, secret=secret)


def tell_access(work: Work, connection: Connection, access: Access) -> None:
    """Tell them the next version, where they may do something else from now on."""
    known = handed(connection, work.run.tenant)
    if known is not None and known.access != access:
        _tell(work, connection, None, access=access)


def tell_gone(work: Work, connection: Connection) -> None:
    """Tell them that there is nothing left."""
    if handed(connection, work.run.tenant) is not None:
        _tell(work, connection, None, access="none", half="", secret="")


def forget_secrets(work: Work) -> None:
    """Take away what lies there for the tenant: its database is gone."""
    with work.ports.store.read() as connection:
        known = handed(connection, work.run.tenant)
    if work.ports.secrets is not None and known is not None and known.secret:
        work.ports.secrets.drop(known.secret)


def followed(work: Work, within_s: float, *, may_stop: bool) -> bool:
    """Wait until the services have said that they follow the last version, and no longer than that.

    Raises Failed (`canceled`) where the run is asked to stop, and may.
    """
    ends_s = time.monotonic() + within_s
    while True:
        with work.ports.store.read() as reading:
            known = handed(reading, work.run.tenant)
        assert known is not None, "they were told in the step before"
        if known.acked_version >= known.version:
            return True
        # After a kill the time that has passed counts: by our clock, or the processor's.
        told = datetime.fromisoformat(known.changed_at) + timedelta(seconds=within_s)
        if work.ports.clock.now() >= told or time.monotonic() >= ends_s:
            return False
        if work.should_stop() and may_stop:
            raise Failed("The run was asked to stop.", code="canceled")
        time.sleep(_PAUSE_S)


def _tell(work: Work, connection: Connection, found: Database | None, **values: object) -> int:
    tenant, now = work.run.tenant, instant(work.ports.clock.now())
    known = handed(connection, tenant)
    if found is not None:
        values["database_id"] = found.id
    work.vouch(connection, handover.name, tenant)
    if known is None:
        born = {"tenant": tenant, "version": 1, "changed_at": now, **values}
        rows.put(connection, handover, Handover.model_validate(born))
        return 1
    asserted = (handover.c.tenant == tenant) & (handover.c.version == known.version)
    version = known.version + 1
    rows.change(connection, handover, asserted, version=version, changed_at=now, **values)
    return version


def _parts(credential: Credential) -> tuple[Home, Half, str]:
    return credential.home, credential.half, credential.reference


# As a step of a tenant that comes to be ----------------------------------------------------------


def first_credential(work: Work, connection: Connection) -> Credential:
    """The one that a tenant begins with, however often its step is tried."""
    return next_credential(connection, work.run.tenant, tenant_of(work, connection).home)


def _first(work: Work) -> Credential:
    with work.ports.store.read() as connection:
        return first_credential(work, connection)


def make_first(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Let the tenant's services in."""
    credential = _first(work)
    make(work, credential)
    return {"half": credential.half}


def unmake_first(work: Work, connection: Connection | None) -> None:
    """Let them in no more."""
    unmake(work, _first(work))


def probe_first(work: Work) -> Probe:
    """Whether they are let in."""
    return probe(work, _first(work))


def tell_first(work: Work, connection: Connection | None) -> None:
    """Tell them, in the transaction in which the tenant opens."""
    inside = inside_of(connection)
    hand_over(work, inside, first_credential(work, inside))


# As steps of a tenant that comes to stand elsewhere ----------------------------------------------


def exchange(connection: Connection, tenant: str, source: Home, target: Home) -> dict[str, Json]:
    """The credential in use, if any, and the one that takes its place: for the note of `begin`."""
    known = handed(connection, tenant)
    leaving: Json = None
    if known is not None and known.half:
        leaving = Credential(source, half_of(known.half), known.secret).json()
    return {"leaving": leaving, "coming": next_credential(connection, tenant, target).json()}


def make_coming(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Let the tenant's services in where it is to stand, by a credential that nobody is told yet."""
    credential = _coming(work)
    make(work, credential)
    return {"half": credential.half}


def unmake_coming(work: Work, connection: Connection | None) -> None:
    """Let them in there no more."""
    unmake(work, _coming(work))


def probe_coming(work: Work) -> Probe:
    """Whether they are let in there."""
    return probe(work, _coming(work))


def retire_leaving(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Let nobody in any more where it stood."""
    leaving = noted_now(work, "begin")["leaving"]
    if leaving is not None:
        unmake(work, Credential.noted(leaving))
    return {"retired": leaving is not None}


def _coming(work: Work) -> Credential:
    return Credential.noted(noted_now(work, "begin")["coming"])
