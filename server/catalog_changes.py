"""What leads from one catalog to another: moves of tables, plans, coupons, tax, rights, approvals that end. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Connection, select

from control_plane.billing.tax_file import Taxation
from control_plane.data.collection import Collection
from control_plane.data.evolution import Evolution, evolve
from control_plane.data.moves import Phase
from control_plane.databases.preview import DialectName, ddl_preview
from control_plane.domain.coupon_catalog import CouponCatalog
from control_plane.domain.plans import PlanCatalog
from control_plane.handlers.catalog_in_force import KIND
from control_plane.ports import Store
from control_plane.store import tables
from policies.bundle import Bundle
from policies.sources import mapping
from server.catalog import Catalog, digest_of, load, load_applied
from server.catalog_check import Checked, check_files, copied, read_working, scratch
from server.policy_difference import Change, compare
from server.policy_side import Side
from server.private_engine import private_gate
from server.workspace import StoreKind, Workspace

WAITING_MAX: Final = 1_000
_PHASES: Final[tuple[Phase, ...]] = ("expand", "contract")
_DIALECTS: Final[Mapping[StoreKind, DialectName]] = {"sqlite": "sqlite", "postgres": "postgresql"}
# Enough to see that a filter can say a condition at all: the whole proof is the check's.
_ROWS_MAX: Final = 40
_WAITING: Final = ("awaiting_approval", "approved")


@dataclass(frozen=True, slots=True)
class Digests:
    """By what a catalog is known: its files' digest, and its bundle's, with the bundle's version."""

    catalog: str
    bundle: str
    version: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What a tenant's database is told in a phase, as text for people to read."""

    phase: Phase
    text: str


@dataclass(frozen=True, slots=True, order=True)
class OfferChange:
    """A plan's version that comes or goes: none ever says something else."""

    name: str
    version: int
    change: Literal["added", "dropped"]


@dataclass(frozen=True, slots=True)
class TaxChange:
    """By which rules what is billed is taxed from then on; `none` where it is not."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, order=True)
class CouponChange:
    """A coupon that comes, goes, or says something else from then on; never of one that was redeemed."""

    code: str
    change: Literal["added", "changed", "dropped"]


@dataclass(frozen=True, slots=True)
class Voided:
    """A run whose plan was made under other digests: its approval would not count any more."""

    run_id: str
    approval_id: str
    tenant: str
    kind: str
    state: str
    requester: str
    created_at: str


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """Everything that is otherwise by the second catalog.

    Where the evolution has a move that is refused, there are no statements: none is made.
    `told` are collections that are declared otherwise, in what no database knows of. `voided` has
    at most `WAITING_MAX` runs.
    """

    before: Digests
    after: Digests
    evolution: Evolution
    statements: tuple[Statement, ...]
    dialect: DialectName
    told: tuple[str, ...]
    offers: tuple[OfferChange, ...]
    rights: tuple[Change, ...]
    voided: tuple[Voided, ...]
    coupons: tuple[CouponChange, ...] = ()
    tax: TaxChange | None = None

    @property
    def nothing(self) -> bool:
        """Whether both are the same."""
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class Planned:
    """What applying the files would change; or, where mistakes stand in the way, what was found of them."""

    changes: CatalogChanges | None
    checked: Checked | None = None


def plan_changes(
    workspace: Workspace, folder: Path, program: Callable[[], Path], store: Store
) -> Planned:
    """Check a folder, and compare it with what the store says is applied; the files are read once.

    Raises BadInput when there is no such folder, Unavailable where the applied catalog's files are
    gone or altered, GateError where no engine answers.
    """
    files, unread = read_working(folder)
    with store.read() as connection:
        applied = load_applied(connection, workspace.catalogs)
    dialect = dialect_of(workspace)
    if not unread and digest_of(files) == applied.digest:
        return Planned(changes_between(applied, applied, program, dialect))
    checked = check_files(files, unread, program, applied.plans, _ROWS_MAX)
    if checked.mistakes:
        return Planned(None, checked)
    with copied(files) as copy:
        found = changes_between(applied, load(copy), program, dialect)
    return Planned(with_voided(found, store))


def dialect_of(workspace: Workspace) -> DialectName:
    """What the databases of the workspace's tenants are told statements in."""
    return _DIALECTS[workspace.store]


def changes_between(
    before: Catalog, after: Catalog, program: Callable[[], Path], dialect: DialectName
) -> CatalogChanges:
    """What leads from one catalog to another; of runs that would be void nothing yet.

    Raises GateError where no engine answers, Unavailable where there is no room for the bundles.
    """
    with scratch() as room:
        was, becomes = before.bundle(room / "before"), after.bundle(room / "after")
        rights: tuple[Change, ...] = ()
        if _differ(before, after, was, becomes):
            rights = _compared(before, after, was, becomes, program())
    sides = [*before.collections.values()], [*after.collections.values()]
    evolution = evolve(*sides)
    return CatalogChanges(
        before=_digests(before, was),
        after=_digests(after, becomes),
        evolution=evolution,
        statements=() if evolution.refused else _statements(*sides, dialect),
        dialect=dialect,
        told=_told(before, after, evolution),
        offers=_offers(before.plans, after.plans),
        rights=rights,
        voided=(),
        coupons=_coupons(before.coupons, after.coupons),
        tax=tax_change(before.tax, after.tax),
    )


def with_voided(found: CatalogChanges, store: Store) -> CatalogChanges:
    """The same with the runs that would be void, as they wait now."""
    # In a transaction of its own: nothing of the store waits for an engine.
    with store.read() as connection:
        return replace(found, voided=_voided(connection, found.after))


def _statements(
    before: Sequence[Collection], after: Sequence[Collection], dialect: DialectName
) -> tuple[Statement, ...]:
    return tuple(
        Statement(phase, text)
        for phase in _PHASES
        for text in ddl_preview(before, after, phase, dialect)
    )


def _digests(catalog: Catalog, bundle: Bundle) -> Digests:
    return Digests(catalog.digest, bundle.digest, bundle.version)


def _differ(applied: Catalog, working: Catalog, before: Bundle, after: Bundle) -> bool:
    same = dict(applied.collections) == dict(working.collections)
    return before.digest != after.digest or not same


def _compared(
    applied: Catalog, working: Catalog, before: Bundle, after: Bundle, program: Path
) -> tuple[Change, ...]:
    with ExitStack() as engines:
        was = engines.enter_context(private_gate(program, before))
        becomes = was
        if before.digest != after.digest:
            becomes = engines.enter_context(private_gate(program, after))
        return compare(
            Side(before, was, applied.collections), Side(after, becomes, working.collections)
        )


def _told(applied: Catalog, working: Catalog, evolution: Evolution) -> tuple[str, ...]:
    moved = {one.collection for one in evolution.moves}
    both = applied.collections.keys() & working.collections.keys()
    return tuple(
        sorted(
            name
            for name in both - moved
            if applied.collections[name].digest() != working.collections[name].digest()
        )
    )


def _offers(before: PlanCatalog, after: PlanCatalog) -> tuple[OfferChange, ...]:
    old = {(one.name, one.version) for one in before.plans}
    new = {(one.name, one.version) for one in after.plans}
    found = [OfferChange(*one, "added") for one in new - old]
    found += [OfferChange(*one, "dropped") for one in old - new]
    return tuple(sorted(found))


def tax_change(before: Taxation | None, after: Taxation | None) -> TaxChange | None:
    """From which rules to which others; None where they are the same."""
    found = TaxChange(*("none" if one is None else one.told for one in (before, after)))
    return None if found.before == found.after else found


def _coupons(before: CouponCatalog, after: CouponCatalog) -> tuple[CouponChange, ...]:
    old = {one.code: one for one in before.coupons}
    new = {one.code: one for one in after.coupons}
    found = [CouponChange(one, "added") for one in new.keys() - old.keys()]
    found += [CouponChange(one, "dropped") for one in old.keys() - new.keys()]
    both = new.keys() & old.keys()
    found += [CouponChange(one, "changed") for one in both if old[one] != new[one]]
    return tuple(sorted(found))


def _voided(connection: Connection, after: Digests) -> tuple[Voided, ...]:
    run = tables.run
    waiting = (
        select(
            run.c.id,
            run.c.approval_id,
            run.c.tenant,
            run.c.kind,
            run.c.state,
            run.c.principal,
            run.c.created_at,
            run.c.plan,
        )
        # One that applies a catalog is about this very change.
        .where(run.c.state.in_(_WAITING) & (run.c.kind != KIND))
        .order_by(run.c.created_at, run.c.id)
        .limit(WAITING_MAX)
    )
    return tuple(
        Voided(
            run_id=row.id,
            approval_id=row.approval_id or "",
            tenant=row.tenant,
            kind=row.kind,
            state=row.state,
            requester=row.principal,
            created_at=row.created_at,
        )
        for row in connection.execute(waiting)
        if not _holds(row.plan, after)
    )


def _holds(plan: object, after: Digests) -> bool:
    """Whether the plan was made under these very digests."""
    named = mapping(plan)
    return (named.get("catalog"), named.get("bundle")) == (after.catalog, after.version)
