"""Rows for a proof over a collection's policy: values at which a rule may turn. Rows of no tenant, and nothing judged."""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import prod
from typing import Any, Final, TypeAlias, cast

from control_plane.data.collection import Collection
from control_plane.data.field import Field
from control_plane.data.filters import Comparison, Tree
from control_plane.data.rows import Row
from control_plane.data.values import INTEGER_MAX, Value, ValueReader

ROWS_MAX: Final = 400
VALUES_MAX: Final = 16
_RANDOM_VALUES: Final = 2
_TEXTS: Final = ("", " ", "a", "A", "z", "\u00e9", "\uffff", "\U0001f600")
_UUIDS: Final = tuple(f"{one * 8}-{one * 4}-{one * 4}-{one * 4}-{one * 12}" for one in "0af")
_INTEGERS: Final = (0, -1, 1, INTEGER_MAX, -INTEGER_MAX)
_DAYS: Final = (date(1000, 1, 1), date.max, date(2000, 2, 29))
_INSTANTS: Final = (
    datetime(1000, 1, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime(2000, 2, 29, tzinfo=UTC),
)
_EDGES: Final[Mapping[str, Sequence[Value]]] = {
    "string": _TEXTS,
    "integer": _INTEGERS,
    "money": _INTEGERS,
    "boolean": (False, True),
    "date": _DAYS,
    "timestamp": _INSTANTS,
    "uuid": _UUIDS,
    "reference": _UUIDS,
}
_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "in": lambda held, values: held in values,
}
_Places: TypeAlias = tuple[int, ...]
_Pair: TypeAlias = tuple[int, int, int, int]


def generated_rows(
    collection: Collection,
    named: Iterable[str],
    trees: Iterable[Tree],
    texts: Iterable[str],
    seed: str,
    rows_max: int = ROWS_MAX,
) -> tuple[Row, ...]:
    """At most `rows_max` distinct rows over the fields in `named`; the same seed gives the same rows.

    Of each field: missing where it may be, one value for each way in which the comparisons of
    `trees` can come out, and edges, neighbours, `texts` and random values beside them. Every
    combination of the former where there is room, else every pair of values as far as there is.
    """
    draws = _Draws(f"{seed}/{collection.name}")
    comparisons = list(_comparisons(trees))
    fields = {name: collection.fields[name] for name in sorted(named)}
    known = [*dict.fromkeys(texts)]
    values: list[list[Value | None]] = []
    cores: list[int] = []
    for name, field in fields.items():
        own = [one for one in comparisons if one.field == name]
        reading = collection.declared_ids(name)
        candidates = _candidates(field, own, [*sorted(reading or ()), *known], draws)
        core, rest = _sorted_out(candidates, own)
        absent: list[Value | None] = [None] if field.nullable else []
        values.append([*absent, *core, *rest][:VALUES_MAX])
        cores.append(min(len(absent) + len(core), VALUES_MAX))
    chosen = _combined(cores, [len(one) for one in values], draws, rows_max)
    return tuple(
        {name: values[place][at] for place, (name, at) in enumerate(zip(fields, one, strict=True))}
        for one in chosen
    )


class _Draws:
    """Numbers that follow from a seed alone."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def below(self, bound: int) -> int:
        """One of 0 to `bound` - 1."""
        self._count += 1
        text = f"{self._seed}/{self._count}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()) % bound


def _comparisons(trees: Iterable[Tree]) -> Iterator[Comparison]:
    # A policy's tree is bounded where it is read.
    waiting = list(trees)
    while waiting:
        tree = waiting.pop(0)
        if isinstance(tree, Comparison):
            yield tree
        else:
            waiting.extend(tree.args)


def _candidates(
    field: Field, comparisons: Sequence[Comparison], texts: Sequence[str], draws: _Draws
) -> list[Value]:
    literals: list[Value] = []
    for one in comparisons:
        if one.op == "in":
            literals += cast("tuple[Value, ...]", one.value)
        elif one.op != "is_null":
            literals.append(cast("Value", one.value))
    literals = list(dict.fromkeys(literals))
    near = [other for literal in literals for other in _neighbours(field, literal)]
    edges = field.values or _EDGES[field.kind]
    drawn = [_random(field, draws) for _ in range(_RANDOM_VALUES)]
    reader = ValueReader(field)
    found: dict[Value, None] = {}
    for value in (*literals, *near, *edges, *texts, *drawn):
        try:
            found[reader.read(value)] = None
        except ValueError:
            continue  # it is no value of this field
    return list(found)


def _neighbours(field: Field, value: Value) -> list[Value]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value - 1, value + 1]
    if isinstance(value, datetime):
        return _moved(value, timedelta(microseconds=1))
    if isinstance(value, date):
        return _moved(value, timedelta(days=1))
    if isinstance(value, str) and field.kind in {"uuid", "reference"}:
        return [value[:-1] + ("1" if value[-1] == "0" else "0")]
    if isinstance(value, str):
        return [value[:-1], value + "a", value.swapcase(), f" {value}"]
    return []


def _moved(value: date, step: timedelta) -> list[Value]:
    moved: list[Value] = []
    for by in (-step, step):
        try:
            moved.append(value + by)
        except OverflowError:
            continue
    return moved


def _random(field: Field, draws: _Draws) -> Value:
    match field.kind:
        case "integer" | "money":
            return draws.below(2 * INTEGER_MAX) - INTEGER_MAX
        case "boolean":
            return bool(draws.below(2))
        case "date":
            return date(1000 + draws.below(9000), 1 + draws.below(12), 1 + draws.below(28))
        case "timestamp":
            return _INSTANTS[0] + timedelta(microseconds=draws.below(2**57))
        case "uuid" | "reference":
            digits = f"{draws.below(2**128):032x}"
            return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        case _ if field.values:
            return field.values[draws.below(len(field.values))]
        case _:
            return "".join(chr(97 + draws.below(26)) for _ in range(1 + draws.below(6)))


def _sorted_out(
    candidates: Sequence[Value], comparisons: Sequence[Comparison]
) -> tuple[list[Value], list[Value]]:
    """One value for each way in which the comparisons come out; and the others."""
    tests = [_test(one) for one in comparisons if one.op in _TESTS]
    core: dict[tuple[bool, ...], Value] = {}
    rest: list[Value] = []
    for value in candidates:
        said = tuple(test(value) for test in tests)
        if said in core:
            rest.append(value)
        else:
            core[said] = value
    return list(core.values()), rest


def _test(comparison: Comparison) -> Callable[[Any], bool]:
    compare: Callable[[Any, Any], bool] = _TESTS[comparison.op]
    return lambda value: bool(compare(value, comparison.value))


def _combined(
    cores: Sequence[int], sizes: Sequence[int], draws: _Draws, rows_max: int
) -> list[_Places]:
    rows: dict[_Places, None] = {}
    core_max = rows_max * 3 // 4
    if prod(cores) <= core_max:
        rows.update(dict.fromkeys(itertools.product(*(range(size) for size in cores))))
    else:
        rows.update(dict.fromkeys(_paired(cores, (), draws, core_max)))
        for _ in range(core_max):
            # More than pairs may have to meet: what is left of the room is drawn.
            if len(rows) < core_max:
                rows[tuple(draws.below(size) for size in cores)] = None
    rows.update(dict.fromkeys(_paired(sizes, list(rows), draws, rows_max - len(rows))))
    return list(rows)[:rows_max]


def _paired(
    sizes: Sequence[int], standing: Iterable[_Places], draws: _Draws, rows_max: int
) -> Iterator[_Places]:
    """Rows in which every two values of two fields meet that met in no row before, if there is room."""
    met = {pair for row in standing for pair in _pairs(row)}
    left = rows_max
    if len(sizes) == 1:
        yield from ((at,) for at in range(sizes[0]))
        return
    for i, j in itertools.combinations(range(len(sizes)), 2):
        for a, b in itertools.product(range(sizes[i]), range(sizes[j])):
            if left <= 0:
                return
            if (i, a, j, b) in met:
                continue
            row = _completed({i: a, j: b}, sizes, met, draws)
            met.update(_pairs(row))
            left -= 1
            yield row


def _completed(
    fixed: dict[int, int], sizes: Sequence[int], met: set[_Pair], draws: _Draws
) -> _Places:
    for place, size in enumerate(sizes):
        if place in fixed:
            continue
        start = draws.below(size)
        turned = [(start + step) % size for step in range(size)]
        fixed[place] = max(turned, key=lambda at: _new(place, at, fixed, met))
    return tuple(fixed[place] for place in range(len(sizes)))


def _new(place: int, at: int, fixed: Mapping[int, int], met: set[_Pair]) -> int:
    sides = ((*sorted([(place, at), other]),) for other in fixed.items())
    return sum((*low, *high) not in met for low, high in sides)


def _pairs(row: _Places) -> Iterator[_Pair]:
    for (i, a), (j, b) in itertools.combinations(enumerate(row), 2):
        yield (i, a, j, b)
