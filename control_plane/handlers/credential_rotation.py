"""The lifecycle that gives a tenant's services another credential, with none of them cut off meanwhile. Not the logins.

Two credentials stand from the first step to the last but one. The former goes once the services have
said that they follow the other, or once their time is over.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from control_plane.commands import Command
from control_plane.database_commands import RotateCredentials
from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.database import Database
from control_plane.domain.run_record import Run
from control_plane.errors import Refused
from control_plane.handlers import handovers
from control_plane.handlers.database_rows import move_database
from control_plane.handlers.database_subject import database_subject, serving_of
from control_plane.handlers.handler import (
    Observed,
    Ports,
    Step,
    Subject,
    TenantLifecycle,
    View,
    Work,
)
from control_plane.handlers.handovers import Credential, handed
from control_plane.handlers.tenant_moves import inside_of, noted, noted_now

OPERATION: Final = "rotate"


def begin(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Take the database in hand; its services notice nothing. Both credentials are noted."""
    inside = inside_of(connection)
    found = serving_of(work, inside)
    move_database(work, inside, found, "rotate")
    return handovers.exchange(inside, work.run.tenant, found.home, found.home)


def let_go(work: Work, connection: Connection | None) -> None:
    """Leave the database as it was, under the credential that it had."""
    inside = inside_of(connection)
    move_database(work, inside, serving_of(work, inside), "fail")


def remove(work: Work, connection: Connection | None) -> None:
    """Take it away again; who was told of it meanwhile is given the time to follow back."""
    if "version" in noted_now(work, "switch"):
        handovers.followed(work, work.ports.handover.overlap_s, may_stop=False)
    handovers.unmake_coming(work, connection)


def switch(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Tell the services of it."""
    inside = inside_of(connection)
    coming = Credential.noted(noted(work, inside, "begin")["coming"])
    return {"version": handovers.hand_over(work, inside, coming)}


def switch_back(work: Work, connection: Connection | None) -> None:
    """Tell them of the former one, which still stands."""
    inside = inside_of(connection)
    former = noted(work, inside, "begin")["leaving"]
    if former is not None:
        handovers.hand_over(work, inside, Credential.noted(former))
    else:
        handovers.tell_gone(work, inside)


def await_followers(work: Work, connection: Connection | None) -> dict[str, Json]:
    """Wait until the services have said that they follow, at most as long as both may stand."""
    if noted_now(work, "begin")["leaving"] is None:
        return {"acknowledged": False}
    within_s = work.ports.handover.overlap_s
    return {"acknowledged": handovers.followed(work, within_s, may_stop=True)}


def finish(work: Work, connection: Connection | None) -> dict[str, Json]:
    """One credential stands."""
    inside = inside_of(connection)
    move_database(work, inside, serving_of(work, inside), "succeed")
    return {}


class RotateCredentialsHandler(TenantLifecycle):
    """Rotates the credential by which a tenant's services reach its database."""

    kind = "rotate_credentials"
    command_type: type[Command] = RotateCredentials
    steps: tuple[Step, ...] = (
        Step("begin", do=begin, undo=let_go),
        Step(
            "create",
            do=handovers.make_coming,
            undo=remove,
            probe=handovers.probe_coming,
            outside=True,
        ),
        Step("switch", do=switch, undo=switch_back),
        Step("wait", do=await_followers, outside=True),
        Step("retire", do=handovers.retire_leaving, outside=True, irreversible=True),
        Step("finish", do=finish, irreversible=True),
    )

    def subject(
        self,
        command: Command,
        view: View,
        run: Run | None,
        approval: Approval | None,
        step: str = "",
    ) -> Subject:
        """The database that serves the tenant."""
        assert isinstance(command, RotateCredentials)
        return database_subject(command.tenant, OPERATION, view, run, approval, step, {})

    def guard(self, command: Command, subject: Subject, ports: Ports) -> None:
        """There is something to log in to. Refused (`no_logins`)."""
        assert isinstance(command, RotateCredentials)
        found = subject.loaded
        if not isinstance(found, Database):
            return
        engine = ports.databases.at(found.home)
        if engine.direct_address(command.tenant, found.isolation, "a").user is None:
            raise Refused(
                "The tenant's database is a file: there is nothing to log in to.",
                code="no_logins",
                rule="database.engine",
            )

    def observe(self, work: Work) -> Observed:
        """Nothing: which credential comes next follows from our own rows."""
        return Observed()

    def pure_parts(self, command: Command, ports: Ports) -> dict[str, Json]:
        """Whose credential it is."""
        assert isinstance(command, RotateCredentials)
        return {"rows": {"credential_of": command.tenant}}

    def answer(self, run: Run, view: View) -> dict[str, Json]:
        """What the services were told last."""
        known = handed(view.connection, run.tenant)
        return {
            "tenant": run.tenant,
            "version": 0 if known is None else known.version,
            "acknowledged_version": 0 if known is None else known.acked_version,
        }
