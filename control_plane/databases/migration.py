"""One phase of a change of a tenant's schema: what it starts from, ends at and asks of rows. Not its SQL."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from sqlalchemy import Connection, MetaData, Table

from control_plane.data.collection import Collection
from control_plane.data.evolution import evolve
from control_plane.data.expansion import expanded, expanded_metadata
from control_plane.data.fit import Demand, demands, misfits, require_none
from control_plane.data.tables import reference_digest, schema_digest, tenant_metadata
from control_plane.databases.served import Served
from control_plane.errors import Refused

# `retract` goes back from the end of `expand` to where it began.
MigrationPhase: TypeAlias = Literal["expand", "contract", "retract"]


class Migration:
    """The phase of the way from `before` to `after`, the same in every engine.

    Raises Refused (`evolution_refused`) where no database follows.
    """

    def __init__(
        self, before: Sequence[Collection], after: Sequence[Collection], phase: MigrationPhase
    ) -> None:
        evolve(before, after).require_possible()
        self._before, self._after, self._phase = before, after, phase
        old, new = schema_digest(before), schema_digest(after)
        starts, ends = Served(old), Served(new)
        # Where only declared rows differ, the tenant's own tables never do.
        between = starts if old == new else Served(old, new)
        steps = {
            "expand": (starts, between, ends),
            "contract": (between, ends, ends),
            "retract": (between, starts, starts),
        }
        # A database that is past the phase already has nothing left to do in it.
        self._from, self.outcome, self._past = steps[phase]

    def is_due(self, said: Served) -> bool:
        """Whether the phase is still to be made, by what the database says.

        Raises Refused: `not_expanded` when the phase before is missing, `schema_differs` when the
        database was made of other collections, or is on its way to others.
        """
        if said in (self.outcome, self._past):
            return False
        if said == self._from:
            return True
        if (
            self._phase == "contract"
            and said.upcoming is None
            and said.current == self._from.current
        ):
            raise Refused("The database is not expanded yet.", code="not_expanded", rule="phase")
        raise Refused(
            "The database was made of other collections, or is on its way to others.",
            code="schema_differs",
            rule="collections",
        )

    def is_past(self, said: Served) -> bool:
        """Whether the database has left the phase behind, and must not be led back."""
        return said == self._past != self.outcome

    def source(self) -> MetaData:
        """The tables that the phase starts from; made anew for each caller."""
        if self._phase == "expand":
            return tenant_metadata(self._before)
        return expanded_metadata(self._before, self._after)

    def target(self) -> MetaData:
        """The tables that it ends at."""
        if self._phase == "expand":
            return expanded_metadata(self._before, self._after)
        return tenant_metadata(self.collections())

    def tables_gone(self) -> list[Table]:
        """The tables that the phase drops, with the rows in them."""
        kept = self.target().tables
        return [table for name, table in self.source().tables.items() if name not in kept]

    def collections(self) -> Sequence[Collection]:
        """What stands declared at the end: both declarations together, or one of them."""
        if self._phase == "expand":
            return expanded(self._before, self._after)
        return self._after if self._phase == "contract" else self._before

    def demands(self) -> list[Demand]:
        """What rows that stand must keep for the phase to be made."""
        if self._phase == "expand":
            return []
        return list(demands(expanded(self._before, self._after), self.collections()))

    def reference_digests(self) -> list[str]:
        """Which sets of declared rows are served at the end."""
        served = {
            "expand": (self._before, self._after),
            "contract": (self._after,),
            "retract": (self._before,),
        }[self._phase]
        found = [reference_digest(collections) for collections in served]
        return list(dict.fromkeys(one for one in found if one is not None))


@contextmanager
def rows_that_stand() -> Generator[None]:
    """A rule that is broken inside is broken by rows that stand, not by one that is written."""
    try:
        yield
    except Refused as error:
        if error.code != "constraint":
            raise
        raise Refused(
            "Rows that stand break a rule of the new declaration.",
            code="rows_do_not_fit",
            rule=error.rule,
        ) from error


def require_all_fit(
    connection: Connection, migration: Migration, views: Iterable[object] = (None,)
) -> None:
    """Count the rows that a narrower declaration leaves out. Raises Refused (`rows_do_not_fit`).

    The connection must see the rows of every tenant that the tables hold: at once, or one part of
    them after the other while `views` goes on.
    """
    demands, tables = migration.demands(), migration.source().tables
    counted = [(0, 0)] * len(demands)
    for _ in views if demands else ():
        for place, demand in enumerate(demands):
            rows, tenants = misfits(connection, tables[demand.collection], demand)
            counted[place] = (counted[place][0] + rows, counted[place][1] + tenants)
    for demand, (rows, tenants) in zip(demands, counted, strict=True):
        require_none(demand, rows, tenants)
