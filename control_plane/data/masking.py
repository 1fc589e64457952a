"""What a tenant's rows become in a copy that others may see: fields of some groups masked. Not who may see which.

A masked value keeps its kind, its bounds and its pattern; where a field's values are unique they stay
so, and what refers to a row goes on referring to it. The same value is masked alike wherever it stands
in one copy, but for kinds of few values, where that would tell it. No two copies mask alike.
"""

from __future__ import annotations

import hmac
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Final, Literal, TypeAlias
from uuid import UUID

from control_plane.data.carry_over import CarryOver, Row
from control_plane.data.collection import Collection
from control_plane.data.field import OPEN_GROUP, Field
from control_plane.data.tables import APPLIED, UNDO
from control_plane.data.values import INTEGER_MAX, Value, ValueReader, to_json
from control_plane.domain.canonical import canonical
from control_plane.errors import Refused

MASKED_TEXT: Final = "masked"
_TRIES_MAX: Final = 64
_SHIFT_DAYS: Final = 182
_YEARS: Final = (1_001, 9_998)
_JSON_MASK: Final = {"masked": True}
# To mask these by their value would only rename the few that there are.
_OF_FEW: Final = frozenset({"boolean", "enum"})
# What a run has changed and which calls were applied: rows of others' acts, and their values.
_LEFT_OUT: Final = frozenset({APPLIED.name, UNDO.name})

_Way: TypeAlias = Literal["both", "digits", "letters"]
# A pattern may ask for just these letters, or these digits: then the others alone are masked.
_WAYS: Final[tuple[_Way, ...]] = ("both", "digits", "letters")
_Drawn: TypeAlias = Callable[[int], int]
"""A number below a bound, by chance that only the copy's key knows."""


def groups_of(collections: Sequence[Collection]) -> frozenset[str]:
    """Every field group of the tenants' own collections."""
    own = (one for one in collections if not one.reference)
    return frozenset(field.group for one in own for field in one.fields.values())


def in_clear(collections: Sequence[Collection], masked: AbstractSet[str]) -> tuple[str, ...]:
    """The groups that a copy would show as they are, but for the open one."""
    return tuple(sorted(groups_of(collections) - masked - {OPEN_GROUP}))


def shows_handled(collections: Sequence[Collection], masked: AbstractSet[str]) -> bool:
    """Whether one of them holds what otherwise leaves as a handle alone."""
    return any(
        field.group not in masked
        for one in collections
        for name, field in one.fields.items()
        if name in one.handled
    )


class Masking(CarryOver):
    """The way of a tenant's rows into a copy, under the same declarations. `key` is the copy's own."""

    def __init__(
        self, collections: Sequence[Collection], masked: AbstractSet[str], key: bytes
    ) -> None:
        super().__init__(collections, collections)
        self._key = key
        self._masks = {
            one.name: {
                name: _Mask(key, field)
                for name, field in one.fields.items()
                if field.group in masked and field.kind not in ("reference", "computed")
            }
            for one in collections
            if not one.reference
        }

    def carried(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, masked; none of what runs and calls have left beside them.

        Raises Refused (`mask_does_not_fit`; `fact`: collection and field).
        """
        for name, values in rows:
            if name in _LEFT_OUT:
                continue
            masks = self._masks[name]
            row_id = str(values["id"])
            yield (
                name,
                {
                    field: masks[field].of(f"{name}.{field}", row_id, value)
                    if field in masks
                    else value
                    for field, value in values.items()
                },
            )


class _Mask:
    """The mask of one field: it remembers what it has given where values are unique."""

    def __init__(self, key: bytes, field: Field) -> None:
        self._key = key
        self._field = field
        # A pattern binds what is given as it binds what is set.
        self._reader = ValueReader(field, stored=True)
        self._given: dict[bytes, bytes] = {}

    def of(self, place: str, row_id: str, value: Value | None) -> Value | None:
        """What stands for the value in the row; nothing for nothing."""
        if value is None:
            return None
        plain = canonical(to_json(value))
        # What is unique has few values only where it has few rows: then each has its own all the same.
        seed = canonical([row_id]) if self._by_row() else plain
        for turn in range(_TRIES_MAX):
            drawn = _drawer(self._key, self._field.kind, seed, turn)
            made = _made(self._field, value, drawn, _WAYS[turn * len(_WAYS) // _TRIES_MAX])
            if self._fits(made, value, turn) and self._is_free(made, plain):
                return made
        if self._field.unique and self._field.kind == "enum":
            return self._first_free(plain, place)
        raise _does_not_fit(place)

    def _by_row(self) -> bool:
        return self._field.kind in _OF_FEW and not self._field.unique

    def _fits(self, made: Value, value: Value, turn: int) -> bool:
        # Where part of it is left as it is, nothing may be left of what the rest was.
        if turn * len(_WAYS) >= _TRIES_MAX and made == value:
            return False
        try:
            self._reader.read(to_json(made))
        except (ValueError, TypeError):
            return False
        return True

    def _is_free(self, made: Value, plain: bytes) -> bool:
        if not self._field.unique:
            return True
        taken = sha256(canonical(to_json(made))).digest()[:16]
        whose = sha256(plain).digest()[:16]
        return self._given.setdefault(taken, whose) == whose

    def _first_free(self, plain: bytes, place: str) -> Value:
        for one in sorted(self._field.values or ()):
            if self._is_free(one, plain):
                return one
        raise _does_not_fit(place)


# Values ----------------------------------------------------------------------------------------


def _made(field: Field, value: Value, drawn: _Drawn, way: _Way) -> Value:
    if field.kind == "text":
        return MASKED_TEXT[: field.length_max]
    if field.kind == "json":
        return _JSON_MASK if field.length_max >= len(canonical(_JSON_MASK)) else 0
    if field.kind == "enum":
        values = field.values or ()
        return values[drawn(len(values))]
    if isinstance(value, bool):
        return drawn(2) == 1
    if isinstance(value, int):
        return _number(value, drawn, INTEGER_MAX)
    if isinstance(value, Decimal):
        return _decimal(value, field, drawn)
    if isinstance(value, datetime):
        return _moved(value, timedelta(seconds=drawn(2 * _SHIFT_DAYS * 86_400)))
    if isinstance(value, date):
        return _moved_day(value, drawn(2 * _SHIFT_DAYS))
    if field.kind == "uuid":
        return str(UUID(int=drawn(1 << 128), version=4))
    return "".join(_sign(one, drawn, way) for one in str(value))


def _number(value: int, drawn: _Drawn, most: int) -> int:
    """Another number of as many digits, on the same side of zero."""
    digits = len(str(abs(value)))
    least = 10 ** (digits - 1) if digits > 1 else 0
    made = least + drawn(min(10**digits - 1, most) - least + 1)
    return -made if value < 0 else made


def _decimal(value: Decimal, field: Field, drawn: _Drawn) -> Decimal:
    scale = field.scale or 0
    units = int(value.scaleb(scale))
    made = _number(units, drawn, 10 ** (field.precision or 1) - 1)
    # By way of text: an exponent would be another spelling.
    return Decimal(f"{Decimal(made).scaleb(-scale):.{scale}f}")


def _moved(value: datetime, by: timedelta) -> datetime:
    moment = value.astimezone(UTC)
    year = min(max(moment.year, _YEARS[0]), _YEARS[1])
    # A leap day that is not there in another year.
    day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
    return moment.replace(year=year, day=day) + by - timedelta(days=_SHIFT_DAYS)


def _moved_day(value: date, days: int) -> date:
    noon = datetime(value.year, value.month, value.day, 12, tzinfo=UTC)
    return _moved(noon, timedelta(days=days)).date()


def _sign(one: str, drawn: _Drawn, way: _Way) -> str:
    """A letter for a letter, a digit for a digit; what else there is stands as it is."""
    if one.isdecimal() and way != "letters":
        return string.digits[drawn(10)]
    if one.isalpha() and way != "digits":
        letters = string.ascii_uppercase if one.isupper() else string.ascii_lowercase
        return letters[drawn(26)]
    return one


def _drawer(key: bytes, kind: str, seed: bytes, turn: int) -> _Drawn:
    state = [hmac.digest(key, canonical([kind, turn]) + b"\n" + seed, "sha256")]

    def drawn(bound: int) -> int:
        state[0] = hmac.digest(key, state[0], "sha256")
        return int.from_bytes(state[0], "big") % bound

    return drawn


def _does_not_fit(place: str) -> Refused:
    return Refused(
        "No masked value fits the field; leave its group out, or give it another rule.",
        code="mask_does_not_fit",
        rule="collections",
        fact=place,
    )
