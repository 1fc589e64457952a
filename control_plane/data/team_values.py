"""Values of a team's own columns on their way between two engines. Not the columns, and no rows.

What a value is, is said as Postgres writes it: in UTC, dates by ISO. What SQLite has in a column is
read as strictly as Postgres would; where the one cannot hold what the other has, it is a ValueError,
and nothing is rounded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from control_plane.domain.canonical import Json

Family: TypeAlias = Literal[
    "text",
    "integer",
    "boolean",
    "decimal",
    "double",
    "date",
    "timestamp",
    "timestamptz",
    "uuid",
    "json",
]
Stored: TypeAlias = int | float | str | bytes | None
"""What SQLite keeps, by storage class."""

_INTEGER_MAX: Final = 2**63 - 1
_HOUR_MINUTES: Final = 60
# As Postgres has it.
_ZONE_MAX: Final = timedelta(hours=16)
_DAY: Final = r"(\d{4})-(\d\d)-(\d\d)"
_ZONE: Final = r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
_DATE: Final = re.compile(_DAY, re.ASCII)
_MOMENT: Final = re.compile(
    _DAY + r"(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?" + _ZONE + ")?", re.ASCII
)
# What Postgres knows of time beyond the years that a datetime does.
_FAR: Final = re.compile(
    r"-?infinity|\d{4,7}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?(?: BC)?", re.ASCII
)
_UUID: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE | re.ASCII
)
# A document that is one number: SQLite would keep it as one.
_NUMBER: Final = re.compile(r"\s*-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class TeamKind:
    """What a column holds; `scale` of a decimal that has one."""

    family: Family
    scale: int | None = None


def from_sqlite(kind: TeamKind, stored: Stored) -> str | None:
    """What is kept, as Postgres writes it. Raises ValueError where it is no such value."""
    if stored is None:
        return None
    if kind.family == "decimal":
        return _decimal_of(stored, kind.scale)
    return _FROM[kind.family](stored)


def to_sqlite(kind: TeamKind, said: str | None) -> Stored:
    """What to keep of it. Raises ValueError where SQLite cannot keep just that."""
    if said is None:
        return None
    kept = _TO.get(kind.family)
    return said if kept is None else kept(said)


def settled(kind: TeamKind, said: str) -> str:
    """A value as a session in UTC casts it to text, as all of this says it."""
    # Nothing else of such a text has the sign.
    return said.replace("+00", "", 1) if kind.family == "timestamptz" else said


def told(kind: TeamKind, said: str | None) -> Json:
    """What a digest is over: the same for values that are equal, however they are written."""
    if said is None:
        return None
    if kind.family == "decimal":
        return _number(said)
    if kind.family == "double":
        # Postgres and Python turn to an exponent at different sizes; zero has no sign on SQLite.
        return repr(float(said) + 0.0)
    return _document(said) if kind.family == "json" else said


def told_as_kept(stored: Stored) -> Json:
    """The same of what SQLite keeps, just as it does: no two that it tells apart are the same."""
    if isinstance(stored, bytes):
        return ["blob", stored.hex()]
    if isinstance(stored, float):
        return ["real", stored.hex()]
    return ["integer", str(stored)] if isinstance(stored, int) else stored


def kept(said: Json) -> Stored:
    """What `told_as_kept` tells of. Raises ValueError where it tells of nothing."""
    match said:
        case None | str():
            return said
        case ["blob", str(digits)]:
            return bytes.fromhex(digits)
        case ["real", str(digits)]:
            return float.fromhex(digits)
        case ["integer", str(digits)]:
            return int(digits)
        case _:
            raise ValueError("must be what SQLite keeps")


# What SQLite keeps ---------------------------------------------------------------------------


def _text(stored: Stored) -> str:
    if not isinstance(stored, str) or "\0" in stored:
        raise ValueError("must be text")
    return stored


def _integer(stored: Stored) -> str:
    if not isinstance(stored, int):
        raise ValueError("must be a whole number")  # noqa: TRY004 - as every reader does
    return str(stored)


def _boolean(stored: Stored) -> str:
    if not isinstance(stored, int) or stored not in (0, 1):
        raise ValueError("must be 0 or 1")
    return "true" if stored else "false"


def _decimal_of(stored: Stored, scale: int | None) -> str:
    if not isinstance(stored, int | float) or not math.isfinite(stored):
        raise ValueError("must be a number")
    number = Decimal(repr(stored))
    if scale is None:
        return f"{number:f}"
    written = f"{number:.{scale}f}" if scale >= 0 else f"{number:f}"
    if Decimal(written) != number:
        raise ValueError(f"must have at most {scale} decimals")
    return written


def _double(stored: Stored) -> str:
    if not isinstance(stored, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - as every reader does
    number = float(stored)
    if number != stored:
        raise ValueError("must be a number with a point")
    return repr(number).replace("inf", "Infinity")


def _date(stored: Stored) -> str:
    said = _text(stored)
    if found := _DATE.fullmatch(said):
        return date(*map(int, found.groups())).isoformat()
    if _FAR.fullmatch(said) and ":" not in said:
        return said
    raise ValueError("must be a date")


def _timestamp(stored: Stored) -> str:
    moment, zone, said = _moment(stored)
    if moment is None:
        return said
    if zone not in (None, "Z") and _offset(zone):
        raise ValueError("must be a time without a zone")
    return _written(moment)


def _timestamptz(stored: Stored) -> str:
    moment, zone, said = _moment(stored)
    if moment is None:
        return said
    try:
        # Without a zone it is UTC, as CURRENT_TIMESTAMP writes it.
        return _written(moment - (_offset(zone) if zone else timedelta()))
    except OverflowError:
        raise ValueError("must be a time of these years") from None


def _moment(stored: Stored) -> tuple[datetime | None, str | None, str]:
    said = _text(stored)
    found = _MOMENT.fullmatch(said)
    if found is None:
        if _FAR.fullmatch(said):
            return None, None, said
        raise ValueError("must be a time")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    micros = int((fraction or "").ljust(6, "0"))
    at = int(hour or 0), int(minute or 0), int(second or 0), micros
    return datetime(int(year), int(month), int(day), *at, tzinfo=UTC), zone, said


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    whole = timedelta(hours=hours, minutes=minutes)
    if minutes >= _HOUR_MINUTES or whole >= _ZONE_MAX:
        raise ValueError("must be a zone")
    return -whole if zone[0] == "-" else whole


def _written(moment: datetime) -> str:
    said = f"{moment.replace(tzinfo=None).isoformat(sep=' ')}"
    return said.rstrip("0") if "." in said else said


def _uuid(stored: Stored) -> str:
    said = _text(stored)
    if _UUID.fullmatch(said) is None:
        raise ValueError("must be a UUID")
    return str(UUID(said))


def _json(stored: Stored) -> str:
    # A document that is one number is kept as one.
    said = repr(stored) if isinstance(stored, int | float) else _text(stored)
    _document(said)
    return said


# What SQLite can keep ------------------------------------------------------------------------


def _real(said: str) -> Stored:
    """A number of Postgres's, which SQLite keeps in eight bytes with a point."""
    number = float(said)
    if math.isnan(number) or (math.isinf(number) and "nfinity" not in said):
        raise ValueError("must be a number that SQLite has")
    return number


def _exact(said: str) -> Stored:
    number = float(said)
    if not math.isfinite(number) or Decimal(repr(number)) != Decimal(said):
        raise ValueError("must be a number of as many digits as SQLite keeps")
    return number


def _whole(said: str) -> Stored:
    return int(said)


def _flag(said: str) -> Stored:
    return {"true": 1, "false": 0, "t": 1, "f": 0}[said]


def _kept_document(said: str) -> Stored:
    if _NUMBER.fullmatch(said) is None:
        return said
    number = Decimal(said.strip())
    if number == number.to_integral_value() and abs(number) <= _INTEGER_MAX:
        return int(number)
    return _exact(said.strip())


# What is equal -------------------------------------------------------------------------------


def _number(said: str) -> str:
    """A decimal without the zeros that end it, whatever its length."""
    try:
        number = Decimal(said)
    except InvalidOperation:
        raise ValueError("must be a number") from None
    if not number.is_finite():
        return said
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "a finite number has one"
    written = "".join(map(str, digits)).lstrip("0")
    stripped = written.rstrip("0")
    if not stripped:
        return "0"
    return f"{'-' if sign else ''}{stripped}e{exponent + len(written) - len(stripped)}"


def _document(said: str) -> Json:
    def number(found: str) -> list[str]:
        # A list of these two would be told alike: no carrying makes one of the other.
        return ["number", _number(found)]

    def strange(_: str) -> Any:
        raise ValueError

    try:
        read: Json = json.loads(said, parse_float=number, parse_int=number, parse_constant=strange)
    except (ValueError, RecursionError):
        raise ValueError("must be JSON") from None
    return read


_FROM: Final[Mapping[str, Callable[[Stored], str]]] = {
    "text": _text,
    "integer": _integer,
    "boolean": _boolean,
    "double": _double,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "uuid": _uuid,
    "json": _json,
}
_TO: Final[Mapping[str, Callable[[str], Stored]]] = {
    "integer": _whole,
    "boolean": _flag,
    "decimal": _exact,
    "double": _real,
    "json": _kept_document,
}
