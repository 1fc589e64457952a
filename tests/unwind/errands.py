"""The runs that leave a tenant in another place, or with another beside it, as they are killed: the cases, and what must stand. Kills nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from control_plane.domain.handover import other_half
from control_plane.domain.home import MAIN, SLOTS, Home
from control_plane.domain.isolation import ISOLATIONS
from control_plane.engine.failpoints import RUN_BOUNDARIES
from control_plane.handlers.registry import failpoint_names
from server.workspace import StoreKind
from tests.unwind.estate import Estate, Stand
from tests.unwind.ledger import MASKED, Told

if TYPE_CHECKING:
    from tests.unwind.site import Site
    from tests.unwind.travellers import Traveller

COMPENSATING: Final = "run.compensating"
LEGS: Final = ("pooled-bridge", "bridge-silo", "silo-pooled")
_BACK: Final = "former"
"""In the place of a leg's end: to the database that a restore has left in that model."""
LEGS_BACK: Final = tuple(f"{model}-{_BACK}" for model in ISOLATIONS)
OTHER: Final = "other"
"""A Postgres server beside the workspace's own. Of none is there a way to files."""
LEGS_ELSEWHERE: Final[dict[StoreKind, tuple[str, ...]]] = {
    "sqlite": ("pooled-bridge@other",),
    "postgres": ("pooled-silo@other", "silo@other-pooled"),
}
# From here on nobody writes where the tenant stood, and from there on it stands elsewhere.
_FROZEN: Final = ("move.freeze.done", "move.freeze.recorded", "move.settle.", "move.cutover.")
_CUT_OVER: Final = ("move.cutover.recorded", "move.retire.", "move.finish.", "run.verified")


class Stop(NamedTuple):
    """One end of a leg."""

    model: str
    server: str

    @classmethod
    def named(cls, told: str) -> Stop:
        """Of a model's name, with a server's where that is not the workspace's own."""
        model, _, server = told.partition("@")
        return cls(model, server or MAIN)


@dataclass(frozen=True)
class Errand:
    """One kill. `leg`: from where to where, or in which model the tenant, or what it has left, is."""

    point: str
    kind: str
    leg: str
    store: StoreKind

    def __str__(self) -> str:
        """The case's name in a test's id."""
        return f"{self.point}-{self.kind}-{self.leg}-{self.store}"

    @property
    def start(self) -> Stop:
        """Where the tenant stands."""
        return Stop.named(self.leg.partition("-")[0])

    @property
    def end(self) -> Stop:
        """Where a move leads."""
        return Stop.named(self.leg.partition("-")[2])

    @property
    def goes_back(self) -> bool:
        """Whether it brings a tenant back to what a restore has left."""
        return self.leg in LEGS_BACK

    @property
    def undoes(self) -> bool:
        """Whether the boundary is reached only by a run that is taken back."""
        return ".undo_" in self.point or self.point == COMPENSATING

    @property
    def is_cut_over(self) -> bool:
        """Whether the tenant stands elsewhere once the worker is killed at it."""
        return self.point.startswith(_CUT_OVER)

    @property
    def is_frozen(self) -> bool:
        """Whether nobody may write once the worker is killed at it."""
        return self.point.startswith((*_FROZEN, COMPENSATING)) and not self.is_cut_over


@dataclass(frozen=True)
class After:
    """What a run has to do with: the tenant, what was there, and what its rows were as it was killed."""

    site: Site
    errand: Errand
    traveller: Traveller
    before: Estate
    told: Told

    def stands(self, *changed: Stand) -> tuple[Stand, ...]:
        """What stood, but for these: the one that serves and stays holds what was written meanwhile."""
        found = {one.home: one for one in self.before.stands}
        serving = self.before.at("serving")
        found[serving.home] = replace(serving, told=self.told)
        found.update({one.home: one for one in changed})
        return tuple(sorted(found.values(), key=lambda one: one.home))

    def free(self, model: str, server: str) -> Home:
        """The place of that model there that a run takes."""
        taken = {one.home for one in self.before.stands}
        homes = (Home(model, server, slot) for slot in SLOTS)  # type: ignore[arg-type]
        return next(one for one in homes if one not in taken)

    def told_services(self, times: int, at: Home) -> dict[str, Any]:
        """Told so often, the services get in there by the half that was free; into files by none."""
        half = "" if self.site.engines[at.server] is None else other_half(self.before.half)
        return {"version": self.before.version + times, "half": half}


@dataclass(frozen=True)
class Kind:
    """One lifecycle. `failing`: the boundary at which a fault makes it take back what it has done."""

    tool: str
    legs: tuple[str, ...]
    given: Callable[[Errand, Traveller, Estate], dict[str, Any]]
    after: Callable[[After], Estate]
    failing: str = ""
    stores: tuple[StoreKind, ...] = ("sqlite", "postgres")


# What is asked, and what must stand --------------------------------------------------------------


def _moved(after: After) -> Estate:
    before, left = after.before, after.before.at("serving")
    home = after.free(*after.errand.end)
    made = 0 if home.isolation in dict(before.stacks) else 1
    if after.errand.undoes:
        return replace(
            before,
            stands=after.stands(),
            moves=tuple(sorted((*before.moves, "aborted"))),
            made=before.made + made,
            gone=before.gone + made,
            # The services were told that they may only read, and that they may write again.
            version=before.version + 2,
        )
    closed = replace(left, purpose="former", is_open=False, is_kept=True, by_move=True)
    # What was written behind the cutover is where the tenant stands by then alone.
    was = after.told if not after.errand.is_cut_over else left.told
    serving = replace(left, home=home, told=after.told)
    return replace(
        before,
        home=home,
        stands=after.stands(replace(closed, told=was), serving),
        moves=tuple(sorted((*before.moves, "observing"))),
        made=before.made + made,
        **after.told_services(2, home),
    )


def _finalised(after: After) -> Estate:
    before = after.before
    (gone,) = (one for one in before.stands if one.home == former_of(after.errand, before).home)
    left = tuple(one for one in after.stands() if one.home != gone.home)
    stays = gone.home.isolation in {one.home.isolation for one in left}
    moves = [*before.moves]
    moves[moves.index("observing")] = "finalised"
    count = before.gone + (0 if stays else 1)
    return replace(before, stands=left, moves=tuple(sorted(moves)), gone=count)


def _restored(after: After) -> Estate:
    before, left = after.before, after.before.at("serving")
    if after.errand.undoes:
        return replace(before, stands=after.stands())
    closed = replace(left, purpose="former", is_open=False, is_kept=True)
    serving = _as_it_was_left(after) if after.errand.goes_back else _as_backed_up(after)
    return replace(
        before,
        home=serving.home,
        stands=after.stands(closed, serving),
        **after.told_services(1, serving.home),
    )


def _as_backed_up(after: After) -> Stand:
    left, backup = after.before.at("serving"), after.traveller.backup
    assert backup is not None
    return replace(left, home=after.free(*left.home[:2]), told=backup.told)


def _as_it_was_left(after: After) -> Stand:
    home = after.traveller.way_back(after.errand.start)
    (found,) = (one for one in after.before.stands if one.home == home)
    assert found.told.records == after.traveller.kept[home].sums()
    return replace(found, purpose="serving", is_open=True, is_kept=False)


def _cloned(after: After) -> Estate:
    if after.errand.undoes:
        return after.before
    serving = after.before.at("serving")
    clone = Stand(
        home=after.free(*serving.home[:2]),
        purpose="clone",
        state="available",
        is_open=False,
        is_kept=True,
        by_move=False,
        told=Told(after.traveller.ledger.sums(MASKED), ()),
    )
    return replace(after.before, stands=after.stands(clone))


def _dropped(after: After) -> Estate:
    gone = after.before.at("clone").home
    return replace(after.before, stands=tuple(x for x in after.before.stands if x.home != gone))


def _rotated(after: After) -> Estate:
    if after.errand.undoes:
        # Told of another and of the former one again.
        return replace(after.before, version=after.before.version + 2)
    return replace(after.before, **after.told_services(1, after.before.home))


def former_of(errand: Errand, before: Estate) -> Stand:
    """The one of the errand's model that a move has left."""
    return next(one for one in before.stands if one.by_move and one.home[:2] == errand.start)


def _to(errand: Errand, _traveller: Traveller, _before: Estate) -> dict[str, Any]:
    return {"isolation": errand.end.model, "server": errand.end.server, "max_freeze_s": 600}


def _former(errand: Errand, traveller: Traveller, before: Estate) -> dict[str, Any]:
    return {"database": traveller.database_at(former_of(errand, before).home)}


def _brought_back(errand: Errand, traveller: Traveller, _before: Estate) -> dict[str, Any]:
    if errand.goes_back:
        return {"former": traveller.database_at(traveller.way_back(errand.start))}
    assert traveller.backup is not None
    return {"backup": traveller.backup.id}


def _clone(_errand: Errand, traveller: Traveller, before: Estate) -> dict[str, Any]:
    return {"drop": traveller.database_at(before.at("clone").home)}


def _nothing(_errand: Errand, _traveller: Traveller, _before: Estate) -> dict[str, Any]:
    return {}


KINDS: Final = {
    "move": Kind("tenant_move", LEGS, _to, _moved, "cutover.before"),
    "finalise_move": Kind("tenant_move_finalise", ISOLATIONS, _former, _finalised),
    "database_restore": Kind(
        "database_restore", (*ISOLATIONS, *LEGS_BACK), _brought_back, _restored, "swap.before"
    ),
    "database_clone": Kind("database_clone", ISOLATIONS, _nothing, _cloned, "finish.before"),
    "database_clone_drop": Kind("database_clone", ISOLATIONS, _clone, _dropped),
    # On files there is nothing to log in to.
    "rotate_credentials": Kind(
        "database_rotate_credentials",
        ISOLATIONS,
        _nothing,
        _rotated,
        "wait.done",
        ("postgres",),
    ),
}

# The cases -------------------------------------------------------------------------------------


def errand_points(kind: str) -> list[str]:
    """Every boundary that a worker reaches in one lifecycle."""
    own = [name for name in failpoint_names() if name.startswith(f"{kind}.")]
    # Where nothing can be undone, nothing is taken back.
    undone = bool(KINDS[kind].failing)
    return [*(one for one in RUN_BOUNDARIES if undone or one != COMPENSATING), *own]


def every_errand(store: StoreKind) -> list[Errand]:
    """Every boundary of every lifecycle on every leg; a tenant that has gone one leg goes the next."""
    return [
        Errand(point, kind, leg, store)
        for kind, described in KINDS.items()
        if store in described.stores
        for point in errand_points(kind)
        for leg in described.legs
    ]


def every_errand_elsewhere(store: StoreKind) -> list[Errand]:
    """Every boundary of a move to another server, and of one back where there is a way."""
    return [
        Errand(point, "move", leg, store)
        for point in errand_points("move")
        for leg in LEGS_ELSEWHERE[store]
    ]


# Before the cutover, behind it and on the way back: each finds its tenant where the one before left it.
SLICE: dict[StoreKind, tuple[tuple[str, str, str], ...]] = {
    "sqlite": (
        ("move.copy.done", "move", "pooled-bridge"),
        ("move.cutover.recorded", "move", "bridge-silo"),
        ("move.settle.undo_done", "move", "silo-pooled"),
    ),
    "postgres": (
        ("move.retire.done", "move", "pooled-bridge"),
        ("rotate_credentials.retire.dispatched", "rotate_credentials", "bridge"),
    ),
}
# Some of these always run.
SLICE_BESIDE: dict[StoreKind, tuple[tuple[str, str, str], ...]] = {
    "sqlite": (
        ("finalise_move.drop.done", "finalise_move", "bridge"),
        ("database_restore.open.undo_done", "database_restore", "silo"),
        ("database_clone.load.done", "database_clone", "silo"),
        ("database_clone_drop.drop.done", "database_clone_drop", "silo"),
    ),
    "postgres": (
        ("finalise_move.destroy.dispatched", "finalise_move", "pooled"),
        ("database_restore.swap.inside", "database_restore", "bridge"),
        ("database_clone.verify.undo_done", "database_clone", "bridge"),
        ("database_clone_drop.drop.dispatched", "database_clone_drop", "bridge"),
    ),
}


def some_errands(store: StoreKind) -> list[Errand]:
    """The slice that always runs."""
    return [Errand(*one, store) for one in SLICE[store]]


def some_errands_beside(store: StoreKind) -> list[Errand]:
    """Of what leaves another database beside a tenant's, or takes it away."""
    return [Errand(*one, store) for one in SLICE_BESIDE[store]]
