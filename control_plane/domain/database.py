"""A tenant's database and the machine of its life. Not the database itself, nor a row in it."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from control_plane.domain.home import Home, ServerName, Slot
from control_plane.domain.isolation import Isolation
from control_plane.domain.machine import Machine, Transient, Transition
from control_plane.domain.record import Record

DatabaseState: TypeAlias = Literal[
    "creating",
    "available",
    "migrating",
    "backing_up",
    "restoring",
    "rotating",
    "cloning",
    "stopping",
    "stopped",
    "starting",
    "deleting",
    "deleted",
    "failed",
]
DatabasePurpose: TypeAlias = Literal["serving", "incoming", "former", "clone"]
"""What it is there for: its tenant's calls, to serve them soon, a way back, or a masked copy."""

_RESTING = frozenset({"available", "stopped", "failed"})

DATABASE = Machine(
    name="database",
    initial="creating",
    states=get_args(DatabaseState),
    stable=_RESTING,
    transient={
        "creating": Transient(3_600, ("succeed",)),
        "migrating": Transient(86_400, ("succeed",)),
        "backing_up": Transient(14_400, ("succeed",)),
        "restoring": Transient(14_400, ("succeed",)),
        "rotating": Transient(1_800, ("succeed",)),
        "cloning": Transient(14_400, ("succeed",)),
        "stopping": Transient(600, ("succeed",)),
        "starting": Transient(1_800, ("succeed",)),
        "deleting": Transient(7_200, ("succeed",), cancel=""),
    },
    terminal=frozenset({"deleted"}),
    transitions=(
        Transition("creating", "succeed", "available", guard="probe_passed"),
        Transition("creating", "fail", "failed", guard="residue_listed"),
        Transition("creating", "cancel", "failed", guard="residue_listed"),
        Transition("failed", "create", "creating", guard="tenant_held"),
        Transition("available", "migrate", "migrating", guard="restore_point_or_transactional"),
        Transition("migrating", "succeed", "available", guard="schema_verified"),
        Transition("migrating", "fail", "available", guard="rolled_back"),
        Transition("migrating", "cancel", "available", guard="rolled_back"),
        Transition("available", "back_up", "backing_up"),
        Transition("backing_up", "succeed", "available", guard="restored_on_trial"),
        Transition("backing_up", "fail", "available"),
        Transition("backing_up", "cancel", "available"),
        # Never in place: what is restored is made beside it, and takes over when it is verified.
        Transition("available", "restore", "restoring", guard="backup_verified, place_free"),
        Transition("restoring", "succeed", "available", guard="one_side_serves"),
        Transition("restoring", "fail", "available", guard="one_side_serves"),
        Transition("restoring", "cancel", "available", guard="before_swap"),
        Transition("available", "clone", "cloning", guard="place_free"),
        Transition("cloning", "succeed", "available"),
        Transition("cloning", "fail", "available"),
        Transition("cloning", "cancel", "available"),
        Transition("available", "rotate", "rotating"),
        Transition("rotating", "succeed", "available", guard="one_credential_left"),
        Transition("rotating", "fail", "available", guard="a_credential_stands"),
        Transition("rotating", "cancel", "available", guard="a_credential_stands"),
        Transition("available", "stop", "stopping"),
        Transition("stopping", "succeed", "stopped", guard="no_query_gets_in"),
        Transition("stopping", "fail", "available"),
        Transition("stopping", "cancel", "available"),
        Transition("stopped", "start", "starting"),
        Transition("starting", "succeed", "available", guard="probe_passed"),
        Transition("starting", "fail", "stopped"),
        Transition("starting", "cancel", "stopped"),
        Transition(
            _RESTING,
            "delete",
            "deleting",
            guard="approved, backup_verified or data_elsewhere",
            irreversible=True,
        ),
        Transition("deleting", "succeed", "deleted", guard="absent, tombstone_kept"),
        Transition("deleting", "fail", "failed", guard="residue_listed"),
    ),
)


class Database(Record):
    """One place where a tenant's data stands. ``run_id`` is the run that moved it last.

    ``kept_until`` is when a former one or a clone goes. Instants are RFC 3339 in UTC.
    """

    id: str
    tenant: str
    server: ServerName
    isolation: Isolation
    slot: Slot
    purpose: DatabasePurpose
    state: DatabaseState
    run_id: str
    made_at: str
    changed_at: str
    kept_until: str | None = None
    version: int = 1

    @property
    def home(self) -> Home:
        """Where it stands."""
        return Home(self.isolation, self.server, self.slot)
