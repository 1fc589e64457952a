"""Operations that read, each judged by what is allowed row by row. Holds no test."""

from __future__ import annotations

from typing import Any

from tests.rows.case import NOT_FOUND, Case
from tests.rows.truths import (
    NUMBERS,
    ORDERED,
    UNGROUPED,
    groups_of,
    in_order,
    named,
)

_PAGES_MAX = 60


def query(case: Case) -> None:
    """Every page of a query, put together, is what may be seen, in order."""
    tree = case.some_filter() if case.chance.random() < 0.7 else None
    sort = case.some_sort() if case.chance.random() < 0.6 else None
    fields = case.some_fields() if case.chance.random() < 0.4 else []
    limit = case.chance.choice([1, 2, 5, 100])
    asked = {"filter": tree, "sort": sort, "fields": fields, "limit": limit}
    field = (sort or "id").removeprefix("-")
    pages: list[list[dict[str, Any]]] = []
    cursor = None
    for _ in range(_PAGES_MAX):
        answered = case.ask("record_query", **asked, cursor=cursor)
        if "bad_input" in answered:
            assert "unknown field" in answered["bad_input"], (answered, asked)
            assert case.blind({*named(tree), field, *fields}), (answered, asked)
            return
        assert answered["outcome"] == "done", (answered, asked)
        page = answered["result"]
        assert page["untrusted_fields"] == case.untrusted(page["records"]), asked
        pages.append(page["records"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    rows = in_order(case.found(tree, [field]), sort)
    expected = [case.shown(row, case.sight[str(row["id"])], fields) for row in rows]
    told = [record for page in pages for record in page]
    assert told == expected, asked
    size = min(limit, case.stand.drawn.declaration["limits"]["page_rows_max"])
    assert all(len(page) <= size for page in pages)
    if case.stand.drawn.mode != "loose":
        # The filter says the rule: no page is short, and none but the only one is empty.
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1), asked
        assert pages[-1] or len(pages) == 1, asked


def get(case: Case) -> None:
    """One row, or none, in the same bytes for every reason."""
    row_id = case.some_row()
    fields = case.some_fields() if case.chance.random() < 0.3 else []
    answered = case.ask("record_get", id=row_id, fields=fields)
    if "bad_input" in answered:
        assert answered["bad_input"] == "fields: unknown field", answered
        assert case.blind(fields), (answered, fields)
        return
    may = case.sight.get(row_id, frozenset())
    if "read" not in may:
        assert answered == NOT_FOUND, row_id
        return
    record = case.shown(case.stand.rows[row_id], may, fields)
    assert answered["result"] == {"record": record, "untrusted_fields": case.untrusted([record])}


def aggregate(case: Case) -> None:
    """The figures of what may be seen: exact, or refused where the policy is not."""
    tree = case.some_filter(1) if case.chance.random() < 0.5 else None
    measures = _measures(case)
    groupable = [name for name in case.columns if case.stand.kinds[name] not in UNGROUPED]
    by = case.chance.sample(groupable, case.chance.choice([0, 1, 1, 2]))
    limit = case.chance.choice([1, 3, 20])
    asked = {"measures": measures, "group_by": by, "filter": tree, "limit": limit}
    answered = case.ask("record_aggregate", **asked)
    names = {*named(tree), *by, *(one["field"] for one in measures if "field" in one)}
    if case.stand.drawn.mode == "loose":
        refused = tuple(answered.get(part) for part in ("outcome", "code", "rule"))
        assert refused == ("refused", "policy_not_exact", f"rows_{case.stand.name}"), answered
        return
    if "bad_input" in answered:
        assert "unknown field" in answered["bad_input"], (answered, asked)
        assert case.blind(names), (answered, asked)
        return
    rows = case.found(tree, names)
    rows_min = _rows_min(case, names, grouped=bool(by))
    groups, more = groups_of(rows, by, measures, rows_min, limit)
    told = {"groups": groups, "more_groups": more, "group_rows_min": rows_min}
    assert answered.get("result") == told, (answered, asked)


def _measures(case: Case) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for _ in range(case.chance.randint(1, 4)):
        name = case.chance.choice(case.columns)
        kind = case.stand.kinds[name]
        ops = ["count"]
        ops += ["min", "max"] * (kind in ORDERED) + ["sum", "avg"] * (kind in NUMBERS)
        op = case.chance.choice(ops)
        bare = op == "count" and case.chance.random() < 0.5
        measure = {"op": op} if bare else {"op": op, "field": name}
        found["_".join(measure.values())] = measure
    return list(found.values())


def _rows_min(case: Case, names: set[str], *, grouped: bool) -> int:
    declared = case.stand.drawn.declaration["groups"]
    groups = {str(case.stand.fields[name]["group"]) for name in names if name in case.stand.fields}
    asked = [int(declared[group]["group_size_min"]) for group in groups if group in declared]
    return max(asked, default=1 if grouped else 0)
