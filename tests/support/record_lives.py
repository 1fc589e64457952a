"""The whole life of a collection's records through an MCP client, whatever was declared. Not a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mcp import Client

from tests.support.agents import answer, error_text
from tests.support.house import fresh_key
from tools.form import CollectionForm

_PAGE_ROWS = 2
_PAGES_MAX = 20


class Records:
    """The tools over one collection of one tenant, whatever they are called in this form."""

    def __init__(
        self, client: Client, tenant: str, collection: str, form: CollectionForm = "generic"
    ) -> None:
        self.client, self.collection = client, collection
        self._tenant, self._form = tenant, form

    def _asked(self, verb: str, more: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        asked: dict[str, Any] = {"tenant": self._tenant, **more}
        if verb in {"create", "update", "delete"}:
            asked.setdefault("idempotency_key", fresh_key())
        if self._form == "each":
            return f"{self.collection}_{verb}", asked
        return f"record_{verb}", {"collection": self.collection, **asked}

    async def call(self, verb: str, **more: Any) -> dict[str, Any]:
        """What a call is answered."""
        tool, asked = self._asked(verb, more)
        return answer(await self.client.call_tool(tool, asked))

    async def done(self, verb: str, **more: Any) -> dict[str, Any]:
        """The result of a call that must be done."""
        answered = await self.call(verb, **more)
        assert answered["outcome"] == "done", answered
        result: dict[str, Any] = answered["result"]
        return result

    async def made(self, **values: Any) -> dict[str, Any]:
        """A new record."""
        record: dict[str, Any] = (await self.done("create", values=values))["record"]
        return record

    async def wrong(self, verb: str, **more: Any) -> str:
        """What is said of a call that must be wrong."""
        tool, asked = self._asked(verb, more)
        return error_text(await self.client.call_tool(tool, asked))

    async def paged(self, **asked: Any) -> list[dict[str, Any]]:
        """Every record of a query, two a page, by its cursors."""
        found: list[dict[str, Any]] = []
        cursor = None
        for _ in range(_PAGES_MAX):
            page = await self.done("query", **asked, limit=_PAGE_ROWS, cursor=cursor)
            assert len(page["records"]) <= _PAGE_ROWS
            found += page["records"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
        raise AssertionError("the pages do not end")


@dataclass(frozen=True)
class Life:
    """What a collection's records are put through: `kept` says in Python what `condition` filters by."""

    rows: Sequence[Mapping[str, Any]]
    condition: Mapping[str, Any]
    kept: Callable[[Mapping[str, Any]], bool]
    sort: str
    measure: str
    change: Mapping[str, Any]


async def live(records: Records, life: Life) -> None:
    """Describe, create, query, get, aggregate, update and delete, each held against the rows given."""
    described = answer(
        await records.client.call_tool("collection_describe", {"collection": records.collection})
    )
    (told,) = described["result"]["collections"]
    assert {"id", "version", "created_at", *life.rows[0]} <= set(told["fields"])
    made = [await records.made(**row) for row in life.rows]
    assert all(
        {**row, "version": 1}.items() <= one.items()
        for row, one in zip(life.rows, made, strict=True)
    )
    kept = [one for one in made if life.kept(one)]
    assert _PAGE_ROWS < len(kept) < len(made), "the filter must have something to do"
    ordered = sorted(kept, key=lambda one: one[life.sort], reverse=True)
    assert await records.paged(filter=life.condition, sort=f"-{life.sort}") == ordered
    await _added_up(records, life, kept)
    await _changed(records, life, kept[0])
    gone = kept[1]
    assert (await records.done("delete", id=gone["id"], version=1)) == {"deleted": gone["id"]}
    assert (await records.call("get", id=gone["id"]))["outcome"] == "not_found"
    left = await records.paged(filter=life.condition, sort=f"-{life.sort}", fields=[life.sort])
    assert gone["id"] not in {one["id"] for one in left}


async def _added_up(records: Records, life: Life, kept: Sequence[Mapping[str, Any]]) -> None:
    measures = [{"op": "count"}, {"op": "sum", "field": life.measure}]
    found = await records.done("aggregate", measures=measures, filter=life.condition)
    (group,) = found["groups"]
    assert group["values"]["count"] == len(kept)
    total = sum(Decimal(str(one[life.measure])) for one in kept)
    assert Decimal(str(group["values"][f"sum_{life.measure}"])) == total


async def _changed(records: Records, life: Life, one: Mapping[str, Any]) -> None:
    asked = {"id": one["id"], "version": 1, "values": life.change}
    planned = await records.call("update", **asked, dry_run=True)
    assert planned["outcome"] == "planned"
    rows = planned["result"]["rows"]
    assert rows["before"].items() <= one.items()
    assert life.change.items() <= rows["after"].items()
    changed = (await records.done("update", **asked))["record"]
    assert {**life.change, "version": 2}.items() <= changed.items()
    got = await records.done("get", id=one["id"], fields=list(life.change))
    assert got["record"] == {"id": one["id"], "version": 2, **life.change}
    late = await records.call("update", **asked)
    assert (late["outcome"], late["code"]) == ("refused", "stale")
