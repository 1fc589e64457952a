"""What archived rows become under later declarations: the same as a database's own rows. Not the archive.

A tenant who was away while its declarations changed comes back as if it had been there: fields
and collections that went are gone, new fields have their default or no value, and a row that would
have stood in the way of the change stands in the way of its return.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from control_plane.data.collection import Collection
from control_plane.data.evolution import evolve
from control_plane.data.expansion import expanded
from control_plane.data.fit import demands, is_broken, require_none
from control_plane.data.tables import APPLIED, UNDO
from control_plane.data.values import Value, ValueReader

# The table's name, and the values by column, without the tenant and what is computed.
Row: TypeAlias = tuple[str, dict[str, Value | None]]


class CarryOver:
    """The way of one tenant's rows from `before` to `after`.

    Raises Refused (`evolution_refused`) where there is none.
    """

    def __init__(self, before: Sequence[Collection], after: Sequence[Collection]) -> None:
        self.evolution = evolve(before, after)
        self.evolution.require_possible()
        self.before = before
        self.after = after
        self._demands = list(demands(expanded(before, after), after))
        self._defaults = {one.name: _defaults(one) for one in after if not one.reference}

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows as they are, each looked at; behind the last one, whether all of them fit.

        Raises Refused (`rows_do_not_fit`; `rule`; `fact`: collection and field).
        """
        broken = [0] * len(self._demands)
        for name, values in rows:
            for place, demand in enumerate(self._demands):
                if demand.collection == name:
                    broken[place] += is_broken(demand, values[demand.field])
            yield name, values
        for demand, count in zip(self._demands, broken, strict=True):
            require_none(demand, count, 1)

    def carried(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows as they are under `after`, without those of collections that went."""
        for name, values in rows:
            defaults = self._defaults.get(name)
            if name in (APPLIED.name, UNDO.name):
                yield name, values
            elif defaults is not None:
                yield name, {one: values.get(one, default) for one, default in defaults.items()}


def _defaults(collection: Collection) -> Mapping[str, Value | None]:
    """What a row has in each column that is given no value; of those that are not computed."""
    computed = collection.computed
    return {
        name: None if field.default is None else ValueReader(field, stored=True).read(field.default)
        for name, field in collection.columns.items()
        if name != "tenant_id" and name not in computed
    }
