"""Operations that change a row, each judged by what is allowed on it before and after. Holds no test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.rows.case import NOT_FOUND, Case
from tests.rows.drawn import draw_value, draw_values
from tests.rows.truths import Typed, plain, typed


def create(case: Case) -> None:
    """A row comes to be where the rule allows it as it would be, and is shown as it may be seen."""
    sent = draw_values(case.chance, case.stand.drawn.declaration)
    dry_run = case.chance.random() < 0.2
    image = case.stand.settled(sent)
    answered = _changed(case, "record_create", values=sent, dry_run=dry_run)
    if "create" not in case.may(image, "create"):
        case.assert_denied(answered, "create")
    elif dry_run:
        after = {name: plain(value) for name, value in image.items() if name != "made"}
        rows = answered["result"]["rows"]
        assert (answered["outcome"], rows["before"], rows["after"]) == ("planned", None, after)
    else:
        assert answered["outcome"] == "done", answered
        row_id = answered["result"]["record"]["id"]
        assert row_id not in case.stand.rows
        # When it was made only the database knows.
        made_at = case.world.standing(case.stand)[row_id]["created_at"]
        row = {"id": row_id, "version": 1, "created_at": made_at, **image}
        case.stand.rows[row_id] = row
        _assert_shown(case, answered, row)
    _assert_standing(case)


def update(case: Case) -> None:
    """A row changes where the rule allows it as it is and as it would be, in fields that are seen."""
    row_id, right = case.some_row(), case.chance.random() < 0.85
    fields = {name: one for name, one in case.stand.fields.items() if one["kind"] != "computed"}
    chosen = case.chance.sample(sorted(fields), min(len(fields), case.chance.randint(1, 3)))
    values = {name: draw_value(case.chance, fields[name]) for name in chosen}
    before = case.stand.rows.get(row_id)
    version = (1 if before is None else int(before["version"])) + (not right)
    dry_run = case.chance.random() < 0.2
    answered = _changed(
        case, "record_update", id=row_id, version=version, values=values, dry_run=dry_run
    )
    if "bad_input" in answered and case.blind(values):
        assert answered["bad_input"].endswith(": unknown field"), answered
    elif before is None or "read" not in case.sight[row_id]:
        assert answered == NOT_FOUND
    elif hidden := [
        name for name in values if not case.stand.actions_of([name]) <= case.sight[row_id]
    ]:
        assert answered == {"bad_input": f"values.{hidden[0]}: unknown field"}
    else:
        after = {name: typed(fields[name]["kind"], value) for name, value in values.items()}
        _judge_update(case, answered, before, after, stale=not right)
    _assert_standing(case)


def _judge_update(
    case: Case,
    answered: Mapping[str, Any],
    before: Typed,
    after: Mapping[str, Any],
    *,
    stale: bool,
) -> None:
    row = case.stand.computed({**before, **after})
    if not all("update" in case.may(image, "update") for image in (before, row)):
        case.assert_denied(answered, "update")
    elif stale:
        assert (answered["outcome"], answered["code"]) == ("refused", "stale")
    elif answered["outcome"] == "planned":
        rows = answered["result"]["rows"]
        assert rows["before"] == {name: plain(before[name]) for name in after}
        assert rows["after"] == {name: plain(value) for name, value in after.items()}
    else:
        assert answered["outcome"] == "done", answered
        row["version"] = before["version"] + 1
        case.stand.rows[str(row["id"])] = row
        _assert_shown(case, answered, row)


def delete(case: Case) -> None:
    """A row goes where the rule allows it as it is."""
    row_id, right = case.some_row(), case.chance.random() < 0.85
    before = case.stand.rows.get(row_id)
    version = (1 if before is None else int(before["version"])) + (not right)
    answered = _changed(case, "record_delete", id=row_id, version=version)
    if before is None or "read" not in case.sight[row_id]:
        assert answered == NOT_FOUND
    elif "delete" not in case.may(before, "delete"):
        case.assert_denied(answered, "delete")
    elif not right:
        assert (answered["outcome"], answered["code"]) == ("refused", "stale")
    else:
        assert answered["outcome"] == "done", answered
        assert answered["result"] == {"deleted": row_id}
        del case.stand.rows[row_id]
    _assert_standing(case)


def _changed(case: Case, tool: str, **arguments: Any) -> dict[str, Any]:
    # What may be read is asked of the rows before they change.
    assert set(case.sight) == set(case.stand.rows)
    return case.ask(tool, idempotency_key=case.world.fresh_key(), **arguments)


def _assert_shown(case: Case, answered: Mapping[str, Any], row: Typed) -> None:
    may = case.may(row, "read", *case.stand.group_actions)
    record = case.shown(row, may, ()) if "read" in may else {"id": row["id"]}
    assert answered["result"]["record"] == record


def _assert_standing(case: Case) -> None:
    assert case.world.standing(case.stand) == case.stand.rows
