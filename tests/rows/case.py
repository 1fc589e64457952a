"""One case: a policy, a table, a caller and an operation, and what is drawn for it. Holds no test."""

from __future__ import annotations

import random
from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from control_plane.domain.caller import Caller
from tests.rows.truths import UNORDERED, UNSORTED, Typed, holds, named, plain
from tests.rows.world import NEVER, Stand, World, pool

NOT_FOUND = {
    "outcome": "not_found",
    "code": "not_found",
    "message": "There is no such object.",
}


@dataclass
class Case:
    """Who asks, of what; `chance` draws the question."""

    world: World
    stand: Stand
    caller: Caller
    chance: random.Random

    def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.world.ask(self.caller, tool, collection=self.stand.name, **arguments)

    def may(self, image: Mapping[str, Any], *actions: str) -> frozenset[str]:
        """What is allowed on one row, as it is or would be."""
        return self.world.may(self.caller, self.stand, {"row": image}, actions)["row"]

    @cached_property
    def sight(self) -> dict[str, frozenset[str]]:
        """Of each row what may be read of it, before anything was changed by this case."""
        asked = ("read", *self.stand.group_actions)
        return self.world.may(self.caller, self.stand, self.stand.rows, asked)

    def blind(self, names: Iterable[str]) -> bool:
        """Whether one of the fields may be read in no row that there is: it may be unknown then."""
        needed = self.stand.actions_of(names)
        return any(not any(action in may for may in self.sight.values()) for action in needed)

    def found(self, tree: Any, names: Iterable[str]) -> list[Typed]:
        """The rows that may be seen by whoever names these fields, and that the filter means."""
        needed = {"read", *self.stand.actions_of([*names, *named(tree)])}
        return [
            row
            for row_id, row in self.stand.rows.items()
            if needed <= self.sight[row_id] and holds(tree, row, self.stand.kinds) is True
        ]

    def shown(
        self, row: Typed, may: AnyCollection[str], fields: AnyCollection[str]
    ) -> dict[str, Any]:
        """The row as its reader sees it."""
        chosen = {*fields, "id", "version"} if fields else set(row)
        return {
            name: plain(value)
            for name, value in row.items()
            if name in chosen and self.stand.actions_of([name]) <= set(may)
        }

    def untrusted(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        told = {name for record in records for name in record}
        return sorted(name for name in told if self.stand.kinds[name] in {"text", "json"})

    def assert_denied(self, answered: Mapping[str, Any], action: str) -> None:
        """That the policy of the rows said no."""
        told = (answered["outcome"], answered["code"], answered["rule"])
        assert told == ("refused", "row_denied", f"rows_{self.stand.name}#{action}")

    # what is drawn ---------------------------------------------------------------------------

    @property
    def columns(self) -> list[str]:
        return sorted(self.stand.kinds)

    def some_fields(self) -> list[str]:
        return self.chance.sample(self.columns, self.chance.randint(1, 4))

    def some_sort(self) -> str | None:
        sortable = [name for name in self.columns if self.stand.kinds[name] not in UNSORTED]
        chosen = self.chance.choice([None, *sortable])
        return chosen if chosen is None else self.chance.choice(["", "-"]) + chosen

    def some_row(self) -> str:
        """Mostly one that is there; else another tenant's, or one that never was."""
        if self.chance.random() < 0.85 and self.stand.rows:
            return self.chance.choice(sorted(self.stand.rows))
        return self.chance.choice([*sorted(self.stand.foreign), NEVER])

    def some_filter(self, depth: int = 2) -> dict[str, Any]:
        form = self.chance.choice(["leaf", "leaf", "and", "or", "not"]) if depth else "leaf"
        if form == "leaf":
            return self._leaf()
        count = 1 if form == "not" else self.chance.randint(1, 3)
        return {"op": form, "args": [self.some_filter(depth - 1) for _ in range(count)]}

    def _leaf(self) -> dict[str, Any]:
        name = self.chance.choice(self.columns)
        kind = self.stand.kinds[name]
        ops = ["is_null"] if kind == "json" else ["is_null", "eq", "ne", "in"]
        if kind not in UNORDERED:
            ops += ["lt", "le", "gt", "ge"]
        op = self.chance.choice(ops)
        if op == "is_null":
            return {"op": op, "field": name, "value": self.chance.random() < 0.5}
        values = pool(self.stand, name)
        if op == "in":
            chosen = self.chance.sample(list(values), self.chance.randint(1, len(values)))
            return {"op": op, "field": name, "value": chosen}
        return {"op": op, "field": name, "value": self.chance.choice(values)}
