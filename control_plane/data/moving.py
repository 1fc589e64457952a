"""A living tenant's rows copied to another database, and kept up with. Not the run over it.

The source keeps being written, by whomever: its place is captured first. What is copied is one
snapshot; each round after that brings the target to a later one, in one transaction. So at every
commit the target is the source as it was at some moment, but for the copy itself, which is no use
until it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from control_plane.data.collection import Collection
from control_plane.data.moving_comparison import Comparison, compare_all, compare_touched
from control_plane.data.moving_ends import MovingEnd, Survey, Writing
from control_plane.data.moving_parts import Group, Moved, Part
from control_plane.data.moving_rows import (
    ROWS_PER_STEP,
    batches,
    batches_of,
    fitting,
    is_raw,
    put,
    records_counted,
    records_said,
    take,
    take_some,
)
from control_plane.data.record_count import set_records
from control_plane.errors import Failed

_STEPS_MAX: Final = 1_000_000

Check: TypeAlias = Literal["none", "touched", "all"]
Told: TypeAlias = Callable[[int], None]
"""Called between steps with how many rows are done; what it raises ends the work."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows there were, by table."""

    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """One round: entries of the outbox, rows put and rows gone, and what a check found."""

    entries: int
    put: int
    gone: int
    comparison: Comparison | None = field(default=None)


def moved_between(
    source: MovingEnd, target: MovingEnd, collections: Sequence[Collection], tenant: str
) -> Moved:
    """What is moved of the tenant, the team's own tables as both places have them.

    Raises Failed (`migrations_differ`) where one has had other migrations, and Refused
    (`schema_drifted`) where a table is not what they left: a column would be lost.
    """
    with source.surveying() as survey, target.surveying() as there:
        return Moved(collections, tenant, survey.team(), there.team())


def empty(target: MovingEnd, moved: Moved, told: Told = lambda _: None) -> None:
    """Remove what the closed target holds of the tenant, a step a transaction.

    Raises Refused (`target_open`, `fenced`).
    """
    gone = 0
    for group in reversed(moved.groups):
        for _ in range(_STEPS_MAX):
            with target.writing() as writing:
                step = _emptied(writing, group, moved.tenant)
            if not step:
                break
            gone += step
            told(gone)
        else:
            raise Failed("The target could not be emptied.", retryable=True, code="rows_remain")
    with target.writing() as writing:
        set_records(writing.connection, moved.tenant, 0)


def copy(source: MovingEnd, target: MovingEnd, moved: Moved, told: Told = lambda _: None) -> Copied:
    """Copy everything of the tenant into the closed target, which is emptied first.

    What a kill left half copied is thereby begun anew. Raises Refused: `not_captured`,
    `target_open`, `fenced`, `rows_do_not_fit` (a row that the target's tables do not allow, which a
    source that holds nobody to its rules may have).
    """
    empty(target, moved)
    with source.surveying() as survey:
        _require_level(survey, moved)
        noted = survey.noted()
        done = dict.fromkeys(moved.parts, 0)
        for group in moved.groups:
            _copy_group(survey, target, moved.tenant, group, done, told)
        records = sum(done[name] for name, part in moved.parts.items() if part.is_collection)
        with fitting(target) as writing:
            set_records(writing.connection, moved.tenant, records)
    # What they tell of is in the snapshot that was copied.
    source.strike(noted.entries)
    return Copied(done)


def catch_up(
    source: MovingEnd, target: MovingEnd, moved: Moved, *, check: Check = "none"
) -> CaughtUp:
    """Bring the target to what the source is now; `check` compares the two as of that moment.

    `touched` compares the rows of this round, and how many each table has; `all` every row. Killed
    anywhere, it is made again: the same rows are put once more, as they are then. Raises as `copy`.
    """
    with source.surveying() as survey:
        _require_level(survey, moved)
        noted = survey.noted()
        put_rows, gone = 0, 0
        if noted.entries or check != "none":
            with fitting(target) as writing:
                is_counted = check != "none"
                put_rows, gone = _apply(survey, writing, moved, noted.keys, is_counted=is_counted)
        comparison = None
        if check != "none":
            with target.surveying() as there:
                _require_level(there, moved)
                if check == "all":
                    comparison = compare_all(survey, there, moved)
                else:
                    comparison = compare_touched(survey, there, moved, noted.keys)
    if noted.entries:
        source.strike(noted.entries)
    return CaughtUp(len(noted.entries), put_rows, gone, comparison)


def _require_level(survey: Survey, moved: Moved) -> None:
    """Raise Failed (`migrations_differ`) where the team's tables were changed since they were looked at."""
    if survey.level() != moved.level:
        raise Failed("The team's tables were changed meanwhile.", code="migrations_differ")


def _copy_group(
    survey: Survey,
    target: MovingEnd,
    tenant: str,
    group: Group,
    done: dict[str, int],
    told: Told,
) -> None:
    if group.is_circular:
        # None of it may stand without the rest, so it is one transaction.
        with fitting(target) as writing:
            for part in group.parts:
                raw = is_raw(survey, writing)
                for batch in batches(survey, part, tenant, raw=raw):
                    put(writing, part, batch, raw=raw)
                    done[part.name] += len(batch)
                    told(sum(done.values()))
        return
    (part,) = group.parts
    with target.surveying() as there:
        raw = is_raw(survey, there)
    for batch in batches(survey, part, tenant, raw=raw):
        with fitting(target) as writing:
            put(writing, part, batch, raw=raw)
        done[part.name] += len(batch)
        told(sum(done.values()))


def _apply(
    survey: Survey,
    writing: Writing,
    moved: Moved,
    keys: Mapping[str, AnyCollection[str]],
    *,
    is_counted: bool,
) -> tuple[int, int]:
    """The rows of the keys as they are in the survey; how many were put, and are gone."""
    touched = [moved.parts[name] for name in keys]
    # First: a database may count by itself what comes and goes.
    said = records_said(writing.connection, moved.tenant) or 0
    # All of them go before any comes: a value that a tenant has once may pass from row to row.
    # What refers to them is looked at when the transaction commits.
    before = {part: take(writing, part, moved.tenant, keys[part.name]) for part in touched}
    after = {part: _put_again(survey, writing, part, moved, keys[part.name]) for part in touched}
    if is_counted:
        records = records_counted(writing.connection, moved)
    else:
        gained = (after[part] - before[part] for part in touched if part.is_collection)
        records = said + sum(gained)
    set_records(writing.connection, moved.tenant, records)
    gone = sum(len(keys[part.name]) - after[part] for part in touched)
    return sum(after.values()), gone


def _put_again(
    survey: Survey, writing: Writing, part: Part, moved: Moved, keys: AnyCollection[str]
) -> int:
    raw, rows = is_raw(survey, writing), 0
    for batch in batches_of(survey, part, moved.tenant, keys, raw=raw):
        put(writing, part, batch, raw=raw)
        rows += len(batch)
    return rows


def _emptied(writing: Writing, group: Group, tenant: str) -> int:
    # Of tables that refer to each other none can stand without the rest.
    rows_max = None if group.is_circular else ROWS_PER_STEP
    return sum(take_some(writing, part, tenant, rows_max) for part in group.parts)
