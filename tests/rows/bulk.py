"""Operations on every row that a filter finds, as they are planned: which rows, before and after. Writes none: runs are tested as runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.rows.case import Case
from tests.rows.drawn import draw_value
from tests.rows.truths import Typed, named, plain, typed


def bulk_update(case: Case) -> None:
    """The rows that may be seen and changed, if each may also be what it would become."""
    fields = {name: one for name, one in case.stand.fields.items() if one["kind"] != "computed"}
    chosen = case.chance.sample(sorted(fields), min(len(fields), case.chance.randint(1, 2)))
    values = {name: draw_value(case.chance, fields[name]) for name in chosen}
    tree = case.some_filter(1)
    answered = _planned(case, "record_bulk_update", filter=tree, values=values)
    if _settled(case, answered, {*named(tree), *values}):
        return
    rows = _changeable(case, tree, values, "update")
    after = {name: typed(fields[name]["kind"], value) for name, value in values.items()}
    become = [case.stand.computed({**row, **after}) for row in rows]
    if not all("update" in case.may(row, "update") for row in become):
        case.assert_denied(answered, "update")
        return
    told = [
        (row, [name for name in case.stand.fields if name in values and row[name] != new[name]])
        for row, new in zip(rows, become, strict=True)
    ]
    _assert_told(
        answered,
        [
            {
                "id": str(row["id"]),
                "version": row["version"],
                "before": {name: plain(row[name]) for name in names},
                "after": {name: plain(after[name]) for name in names},
            }
            for row, names in told
        ],
    )


def bulk_delete(case: Case) -> None:
    """The rows that may be seen and removed, each shown as far as it may be."""
    tree = case.some_filter(1)
    answered = _planned(case, "record_bulk_delete", filter=tree)
    if _settled(case, answered, named(tree)):
        return
    told: list[dict[str, Any]] = []
    for row in _changeable(case, tree, (), "delete"):
        row_id = str(row["id"])
        shown = case.shown(row, case.sight[row_id], ())
        own = {
            name: shown[name]
            for name in case.stand.fields
            if name in shown and row[name] is not None
        }
        told.append({"id": row_id, "version": row["version"], "before": own, "after": None})
    _assert_told(answered, told)


def _planned(case: Case, tool: str, **arguments: Any) -> dict[str, Any]:
    key = case.world.fresh_key()
    return case.ask(tool, idempotency_key=key, dry_run=True, **arguments)


def _settled(case: Case, answered: Mapping[str, Any], names: set[str]) -> bool:
    """Whether the answer is about policy or fields, and none about rows."""
    if case.stand.drawn.mode == "loose":
        refused = tuple(answered.get(part) for part in ("outcome", "code", "rule"))
        assert refused == ("refused", "policy_not_exact", f"rows_{case.stand.name}"), answered
        return True
    if "bad_input" in answered:
        assert "unknown field" in answered["bad_input"], answered
        assert case.blind(names), answered
        return True
    return False


def _changeable(case: Case, tree: Any, names: Any, action: str) -> list[Typed]:
    return [row for row in case.found(tree, names) if action in case.may(row, action)]


def _assert_told(answered: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> None:
    assert answered["outcome"] == "planned", answered
    told = answered["result"]["rows"]["changes"]
    assert sorted(told, key=_by_id) == sorted(wanted, key=_by_id)


def _by_id(change: Mapping[str, Any]) -> str:
    return str(change["id"])
