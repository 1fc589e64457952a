"""All the places that a tenant has anywhere, and what is in each: databases, rows, captures, stacks, credentials. Not what should be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from control_plane.domain.home import Home
from control_plane.facts.load import tenant_row
from control_plane.handlers.database_rows import standing
from control_plane.handlers.handovers import handed
from control_plane.store import tables
from control_plane.store.database_tables import tenant_move
from tests.unwind.engines import captured, label, let_in, names_of, names_standing
from tests.unwind.ledger import MASKED, Told, told_by
from tests.unwind.standing import RESOURCES

if TYPE_CHECKING:
    from tests.unwind.site import Site


@dataclass(frozen=True)
class Stand:
    """One database that is not deleted. `by_move`: a move has left it, and keeps it as the way back."""

    home: Home
    purpose: str
    state: str
    is_open: bool
    is_kept: bool
    by_move: bool
    told: Told


@dataclass(frozen=True)
class Estate:
    """All of it; two are equal when nothing is missing and nothing is left over.

    `named`: what there is of the tenant in the engines, its id written as ``*``. `captured`: the
    places in which changes of its rows are still noted or refused. `version`: of what its services
    were told last, `half` by which they get in, `let_in` by which of its places whoever has them
    gets in. `made`, `gone`: how often a stack was really made, and removed.
    """

    state: str
    home: Home
    stands: tuple[Stand, ...]
    moves: tuple[str, ...]
    version: int
    half: str
    made: int
    gone: int
    named: tuple[str, ...]
    captured: tuple[str, ...]
    stacks: tuple[tuple[str, int], ...]
    let_in: tuple[tuple[str, str, str], ...]
    secrets: int

    def at(self, purpose: str) -> Stand:
        """The one that there is of that purpose."""
        (found,) = (one for one in self.stands if one.purpose == purpose)
        return found


def served(site: Site, tenant: str) -> Told:
    """What the place that serves the tenant says of its rows."""
    found = site.tenant(tenant)
    assert found is not None
    home = found.home
    with site.servers.at(home).reading(tenant, home.isolation) as reading:
        return told_by(reading, site.collections, tenant)


def survey(site: Site, tenant: str) -> Estate:
    """Look at everything, and that no half-made thing is among it."""
    moved = tenant_move.c
    with site.store.read() as connection:
        row = tenant_row(connection, tenant)
        assert row is not None
        found, known = standing(connection, row), handed(connection, tenant)
        mine = select(moved.source, moved.state).where(moved.tenant == tenant)
        moves = connection.execute(mine).all()
        fence = select(tables.fence.c.data_epoch).where(tables.fence.c.tenant == tenant)
        epoch = connection.execute(fence).scalar_one() or None
    assert known is not None
    left = {source for source, state in moves if state == "observing"}
    stands: list[Stand] = []
    for one in found:
        engine, home = site.servers.at(one.home), one.home
        opened = engine.open_at(tenant, home.isolation)
        assert one.purpose != "serving" or opened == epoch, "store and database do not say the same"
        hidden = MASKED if one.purpose == "clone" else frozenset[str]()
        with engine.reading(tenant, home.isolation) as reading:
            told = told_by(reading, site.collections, tenant, hidden)
        kept = one.kept_until is not None
        stands.append(
            Stand(home, one.purpose, one.state, opened is not None, kept, one.id in left, told)
        )
    made, gone = site.effects.of(tenant)
    return Estate(
        state=row.state,
        home=row.home,
        stands=tuple(sorted(stands, key=lambda one: one.home)),
        moves=tuple(sorted(state for _, state in moves)),
        version=known.version,
        half=known.half,
        made=made,
        gone=gone,
        let_in=tuple(sorted(let_in(site, tenant, [one.home for one in stands]))),
        **_outside(site, tenant),
    )


def _outside(site: Site, tenant: str) -> dict[str, Any]:
    folder = site.house.workspace.terraform / tenant
    assert not list(folder.glob(".operations/*")), "an operation's folder is left"
    states = {path.parent.name: path.read_text() for path in folder.glob("*/terraform.tfstate")}
    counts = {model: len(json.loads(one)["resources"]) for model, one in states.items() if one}
    secrets = site.house.workspace.state / "handover"
    return {
        "named": tuple(sorted(names_standing(site, tenant))),
        "captured": tuple(sorted(captured(site, tenant))),
        "stacks": tuple(sorted((model, count) for model, count in counts.items() if count)),
        "secrets": len(list(secrets.glob(f"{tenant}.*"))),
    }


def whole(site: Site, estate: Estate) -> dict[str, Any]:
    """What there must be outside of our own rows, for what these say of the databases."""
    serving = estate.at("serving").home
    # Nobody's services are ever let into a clone.
    named = [
        name
        for one in estate.stands
        for name in names_of(site, one.home, served=one.purpose != "clone")
    ]
    if estate.half:
        named.append(f"{serving.server}: role pb__l{estate.half}_*")
    held = [(label(serving), estate.half, "full")] if estate.half else []
    models = {one.home.isolation for one in estate.stands}
    return {
        "named": tuple(sorted(named)),
        "captured": tuple(sorted(label(one.home) for one in estate.stands if one.by_move)),
        "stacks": tuple(sorted((model, RESOURCES[model]) for model in models)),
        "let_in": tuple(held),
        "secrets": len(held),
    }
