"""The cases: which boundary, of which lifecycle, under which isolation, over which store. Kills nothing."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.engine.failpoints import FACE_BOUNDARIES, RUN_BOUNDARIES
from control_plane.handlers.registry import failpoint_names
from server.workspace import StoreKind
from tests.unwind.lifecycles import DESCRIBED

STORES: tuple[StoreKind, ...] = ("sqlite", "postgres")


@dataclass(frozen=True)
class Case:
    """One kill. `kind` is the lifecycle's."""

    point: str
    kind: str
    model: Isolation
    store: StoreKind

    def __str__(self) -> str:
        """The case's name in a test's id."""
        return f"{self.point}-{self.kind}-{self.model}-{self.store}"

    @property
    def undoes(self) -> bool:
        """Whether the boundary is reached only by a run that is taken back."""
        return ".undo_" in self.point or self.point == "run.compensating"


def worker_points(kind: str) -> list[str]:
    """Every boundary that a worker reaches in one lifecycle."""
    own = [name for name in failpoint_names() if name.startswith(f"{kind}.")]
    return [*RUN_BOUNDARIES, *own]


def every_kill_of_a_worker(store: StoreKind) -> list[Case]:
    """Every boundary of every lifecycle under every isolation model."""
    return [
        Case(point, kind, model, store)
        for kind in DESCRIBED
        for model in ISOLATIONS
        for point in worker_points(kind)
    ]


def every_kill_of_a_face(store: StoreKind) -> list[Case]:
    """The same of what a face reaches."""
    return [
        Case(point, kind, model, store)
        for kind in DESCRIBED
        for model in ISOLATIONS
        for point in FACE_BOUNDARIES
    ]


# Each class of boundary, lifecycle and isolation model, the classes that undo or lie outside most.
# In this order nearly all find their tenant where an earlier one left it.
SLICE: dict[StoreKind, tuple[tuple[str, str, Isolation], ...]] = {
    "sqlite": (
        ("onboard.provision.undo_done", "onboard", "pooled"),
        ("run.observed", "onboard", "silo"),
        ("change_records.change.done", "change_records", "silo"),
        ("suspend.close.undo_done", "suspend", "silo"),
        ("database_backup.verify.dispatched", "database_backup", "pooled"),
        ("offboard.destroy.dispatched", "offboard", "silo"),
        ("restore.load.done", "restore", "silo"),
    ),
    "postgres": (
        ("onboard.database.dispatched", "onboard", "bridge"),
        ("change_records.change.undo_done", "change_records", "bridge"),
        ("suspend.close.done", "suspend", "bridge"),
        ("resume.activate.inside", "resume", "bridge"),
        ("drift_check.look.dispatched", "drift_check", "bridge"),
        ("offboard.backup.undo_done", "offboard", "bridge"),
    ),
}
FACE_SLICE: dict[StoreKind, tuple[tuple[str, str, Isolation], ...]] = {
    "sqlite": (("face.decided", "onboard", "pooled"),),
    "postgres": (("face.committed", "onboard", "silo"),),
}


def some_kills_of_a_worker(store: StoreKind) -> list[Case]:
    """The slice, of which a part always runs."""
    return [Case(*one, store) for one in SLICE[store]]


def some_kills_of_a_face(store: StoreKind) -> list[Case]:
    """The same for faces; over a server it always runs, over files it is swept."""
    return [Case(*one, store) for one in FACE_SLICE[store]]
