"""The kind of field for a column's type, or why there is none. Not a field's name or place.

Only what is known is declared. Where a type has no kind that keeps its values whole, the column is
not mapped, and a kind that its owner may choose is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import NullType, TypeEngine

from control_plane.data.field import FIELDS_MAX, LENGTH_MAX, PRECISION_MAX, SCALE_MAX
from control_plane.data.field import Kind as KindName
from control_plane.data.pulling.literals import Literal, Membership, NoLiteral, Number, membership

STRING_CHARS_MAX: Final = LENGTH_MAX["string"]
TEXT_CHARS_MAX: Final = LENGTH_MAX["text"]
_VALUE_CHARS_MAX: Final = 64
_KEYED_CHARS: Final = 255
_DIGITS: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_DOMAIN_VALUE: Final = "VALUE"

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field is declared with, and what its owner should know about it."""

    options: Options
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> KindName:
        """The kind's own name."""
        name: KindName = self.options["kind"]
        return name


@dataclass(frozen=True, slots=True)
class NoKind:
    """Why a type has no kind."""

    reason: str


def kind_of(found: TypeEngine[Any], *, keyed: bool) -> Kind | NoKind:
    """The kind of a type. `keyed`: a key or an index uses the column, so its text has an order."""
    if isinstance(found, pg.DOMAIN):
        return _domain(found, keyed=keyed)
    for types, kind in _SIMPLE:
        if isinstance(found, types):
            return kind
    if isinstance(found, sa.Enum):
        return enum_kind(tuple(found.enums))
    if isinstance(found, sa.String):
        return _text(found, keyed=keyed)
    if isinstance(found, sa.DateTime):
        zoned = found.timezone
        return Kind({"kind": "timestamp"}, () if zoned else ("it has no time zone there",))
    if isinstance(found, sa.Numeric):
        return _decimal(found)
    if isinstance(found, NullType):
        return NoKind("its type is not known here")
    return NoKind(f"the type {type(found).__name__.upper()} has no kind{_proposal(found)}")


def enum_kind(values: tuple[str, ...]) -> Kind | NoKind:
    """An enum of these values, in their order."""
    if not 1 <= len(values) <= FIELDS_MAX or len(set(values)) != len(values):
        return NoKind(f"an enum has 1 to {FIELDS_MAX} distinct values (proposal: string)")
    if not all(1 <= len(one) <= _VALUE_CHARS_MAX and one.isprintable() for one in values):
        return NoKind(
            f"a value of an enum has 1 to {_VALUE_CHARS_MAX} printable characters "
            "(proposal: string)"
        )
    return Kind({"kind": "enum", "values": list(values)})


def narrowed(kind: Kind, members: Membership) -> Kind | NoKind:
    """The kind of a text column whose values a check constraint lists."""
    texts = tuple(one for one in members.values if isinstance(one, str))
    if kind.name not in {"string", "text"} or len(texts) != len(members.values):
        return NoKind("a list of values is declared for text only")
    found = enum_kind(texts)
    if isinstance(found, NoKind):
        return found
    return Kind(found.options)


def default_of(kind: Kind, literal: Literal) -> Any:
    """A literal as JSON of the kind, whose rules are yet to be asked. Raises NoLiteral."""
    return _DEFAULTS.get(kind.name, _no_default)(kind.options, literal)


def _decimal(found: sa.Numeric[Any]) -> Kind | NoKind:
    precision, scale = found.precision, found.scale or 0
    if precision is None:
        return NoKind("a number without a precision (proposal: decimal)")
    if not (0 <= scale <= min(precision, SCALE_MAX) and 1 <= precision <= PRECISION_MAX):
        return NoKind(
            f"a decimal has at most {PRECISION_MAX} digits, and {SCALE_MAX} of them behind the "
            "point (proposal: a decimal with less)"
        )
    return Kind({"kind": "decimal", "precision": precision, "scale": scale})


def _text(found: sa.String, *, keyed: bool) -> Kind:
    length = found.length
    notes = ("it compares without case there",) if isinstance(found, pg.CITEXT) else ()
    if length is None and keyed:
        note = f"in a key or an index, and without a length there: {_KEYED_CHARS} characters here"
        return Kind({"kind": "string", "max_length": _KEYED_CHARS}, (*notes, note))
    if length is None:
        return Kind({"kind": "text", "max_length": TEXT_CHARS_MAX}, notes)
    if length > TEXT_CHARS_MAX:
        notes = (*notes, f"it has more than {TEXT_CHARS_MAX} characters there")
    name = "string" if 1 <= length <= STRING_CHARS_MAX else "text"
    return Kind({"kind": name, "max_length": max(1, min(length, TEXT_CHARS_MAX))}, notes)


def _domain(found: pg.DOMAIN, *, keyed: bool) -> Kind | NoKind:
    # What a domain is over has no type in the library's own annotations.
    below: TypeEngine[Any] = found.data_type
    kind = kind_of(below, keyed=keyed)
    if isinstance(kind, NoKind):
        return kind
    check = None if found.check is None else str(found.check)
    if check is None:
        return kind
    try:
        members = membership(check)
        known = narrowed(kind, members) if members.column.upper() == _DOMAIN_VALUE else kind
        if isinstance(known, Kind) and known is not kind:
            return known
    except NoLiteral:
        pass
    return Kind(kind.options, (*kind.notes, "its domain's check is not mapped"))


def _proposal(found: TypeEngine[Any]) -> str:
    named = next((name for types, name in _PROPOSALS if isinstance(found, types)), None)
    return f" (proposal: {named})" if named else ""


def _number(_: Options, literal: Literal) -> int:
    text = literal.digits if isinstance(literal, Number) else literal
    if not isinstance(text, str) or _WHOLE.fullmatch(text) is None:
        raise NoLiteral
    return int(text)


def _digits(options: Options, literal: Literal) -> str:
    text = literal.digits if isinstance(literal, Number) else literal
    if not isinstance(text, str) or _DIGITS.fullmatch(text) is None:
        raise NoLiteral
    whole, _, part = text.partition(".")
    scale = int(options["scale"])
    if len(part.rstrip("0")) > scale:
        raise NoLiteral
    sign = "-" if whole.startswith("-") and (whole + part).strip("-0") else ""
    part = part[:scale].ljust(scale, "0")
    return f"{sign}{abs(int(whole))}" + (f".{part}" if part else "")


def _flag(_: Options, literal: Literal) -> bool:
    if isinstance(literal, bool):
        return literal
    text = literal.digits if isinstance(literal, Number) else literal
    if text in _FLAGS:
        return _FLAGS[text]
    raise NoLiteral


def _written(_: Options, literal: Literal) -> str:
    if not isinstance(literal, str):
        raise NoLiteral
    return literal


def _no_default(_: Options, literal: Literal) -> Any:
    raise NoLiteral


_FLAGS: Final = {"1": True, "0": False, "t": True, "f": False, "true": True, "false": False}
_DEFAULTS: Final[Mapping[str, Callable[[Options, Literal], Any]]] = {
    "integer": _number,
    "decimal": _digits,
    "boolean": _flag,
    "string": _written,
    "text": _written,
    "enum": _written,
    "date": _written,
    "uuid": _written,
}
_SIMPLE: Final[tuple[tuple[Any, Kind | NoKind], ...]] = (
    (sa.Boolean, Kind({"kind": "boolean"})),
    (sa.BigInteger, Kind({"kind": "integer"}, ("an integer ends at 2^53 - 1",))),
    (sa.Integer, Kind({"kind": "integer"})),
    (sa.Float, NoKind("a float has no exact value (proposal: decimal)")),
    (sa.Date, Kind({"kind": "date"})),
    (sa.Uuid, Kind({"kind": "uuid"})),
    (sa.JSON, Kind({"kind": "json", "max_length": LENGTH_MAX["json"]})),
    (sa.ARRAY, NoKind("an array has no kind (proposal: json, or a collection of its own)")),
    (sa.LargeBinary, NoKind("bytes have no kind (proposal: keep them outside, by their name)")),
    (pg.MONEY, NoKind("its currency is not known (proposal: money with a currency)")),
)
_PROPOSALS: Final[tuple[tuple[Any, str], ...]] = (
    ((pg.INET, pg.CIDR, pg.MACADDR, pg.MACADDR8, sa.Time, pg.BIT), "string"),
    ((pg.HSTORE,), "json"),
    ((pg.INTERVAL, sa.Interval), "integer of a unit that its name tells"),
    ((pg.ranges.AbstractRange,), "two fields, from and to"),
)
