"""The values of a field: their Python types, strictly read from JSON. Not their columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from annotated_types import Ge, Le
from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic import Field as Described

from control_plane.data.field import PRECISION_MAX, Field
from control_plane.domain.canonical import Json, canonical, instant

Value: TypeAlias = (
    str | int | bool | date | datetime | Decimal | Sequence[Json] | Mapping[str, Json]
)

JSON_DEPTH_MAX: Final = 16
INTEGER_MAX: Final = 2**53 - 1  # what every JSON reader takes without loss
UUID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_YEAR_MIN: Final = 1000  # four digits, so that text order is time order
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _storable(text: str) -> str:
    if "\x00" in text or (not text.isascii() and _SURROGATE.search(text) is not None):
        raise ValueError("must be Unicode text without NUL")
    return text


def _read_date(value: object) -> date:
    if type(value) is date:
        return value
    if not isinstance(value, str) or _DATE.fullmatch(value) is None:
        raise ValueError("must be a date, YYYY-MM-DD")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a date that exists") from None
    if day.year < _YEAR_MIN:
        raise ValueError(f"must not be before the year {_YEAR_MIN}")
    return day


def _read_instant(value: object) -> datetime:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str) and _INSTANT.fullmatch(value) is not None:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be an instant that exists") from None
    else:
        raise ValueError("must be an RFC 3339 instant with an offset")
    if moment.tzinfo is None:
        raise ValueError("must be an RFC 3339 instant with an offset")
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be an instant that exists") from None
    if moment.year < _YEAR_MIN:
        raise ValueError(f"must not be before the year {_YEAR_MIN}")
    return moment


_DATE_TYPE: Final[Any] = Annotated[
    date,
    BeforeValidator(_read_date),
    WithJsonSchema({"type": "string", "format": "date"}),
]
_INSTANT_TYPE: Final[Any] = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    PlainSerializer(instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
_INTEGER_TYPE: Final[Any] = Annotated[int, Strict(), Ge(-INTEGER_MAX), Le(INTEGER_MAX)]
_UUID_TYPE: Final[Any] = Annotated[
    str,
    StringConstraints(strict=True, pattern=UUID_PATTERN),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": UUID_PATTERN}),
]


def decimal_pattern(field: Field) -> str:
    """The one spelling of a decimal: no zero in front, and exactly `scale` decimals."""
    scale = field.scale or 0
    ahead = (field.precision or 0) - scale
    whole = f"(0|[1-9][0-9]{{0,{ahead - 1}}})" if ahead else "0"
    return f"^-?{whole}\\.[0-9]{{{scale}}}$" if scale else f"^-?{whole}$"


def _decimal_type(field: Field) -> Any:
    scale, pattern = field.scale or 0, decimal_pattern(field)
    rule = f"must be a decimal in text: exactly {scale} decimals, {field.precision} digits at most"

    def read(value: object) -> Decimal:
        text = _decimal_text(value, scale) if isinstance(value, Decimal) else value
        if not isinstance(text, str) or re.fullmatch(pattern[1:-1], text, re.ASCII) is None:
            raise ValueError(rule)
        number = Decimal(text)
        if text.startswith("-") and not number:
            raise ValueError(rule)
        return number

    return Annotated[
        Decimal,
        BeforeValidator(read),
        PlainSerializer(_decimal_json, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "pattern": pattern}),
    ]


def _decimal_text(number: Decimal, scale: int) -> str | None:
    # What is far too large is not written out first.
    if not number.is_finite() or number.adjusted() > PRECISION_MAX:
        return None
    text = f"{number or abs(number):.{scale}f}"
    return text if Decimal(text) == number else None


def _decimal_json(number: Decimal) -> str:
    return f"{number:f}"  # never with an exponent


def _json_type(field: Field) -> Any:
    def read(value: object) -> object:
        if value is None:
            raise ValueError("must be a JSON value other than null")
        _require_json(value, 0)
        if len(canonical(value).decode()) > field.length_max:
            raise ValueError(f"must have at most {field.length_max} characters as canonical JSON")
        return value

    described = {"description": f"Any JSON value, at most {JSON_DEPTH_MAX} deep, no fractions."}
    return Annotated[Any, BeforeValidator(read), WithJsonSchema(described)]


def _require_json(value: object, depth: int) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _storable(value)
    elif isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise ValueError("must have no number beyond 2^53 - 1")
    elif (parts := _parts_of(value)) is not None:
        if depth == JSON_DEPTH_MAX:
            raise ValueError(f"must be at most {JSON_DEPTH_MAX} deep")
        for part in parts:
            _require_json(part, depth + 1)
    else:
        # A fraction has no canonical form here, nor an exact one: it is sent as text.
        raise _not_json()


def _parts_of(value: object) -> Iterable[object] | None:
    if isinstance(value, list):
        return cast("list[object]", value)
    if not isinstance(value, dict):
        return None
    known = cast("dict[object, object]", value)
    for name in known:
        _require_name(name)
    return known.values()


def _require_name(name: object) -> None:
    if not isinstance(name, str):
        raise _not_json()
    _storable(name)


def _not_json() -> ValueError:
    return ValueError("must be JSON whose numbers are whole")


def _text(field: Field, *, pattern: str | None) -> Any:
    limits = StringConstraints(strict=True, max_length=field.length_max, pattern=pattern)
    return Annotated[str, limits, AfterValidator(_storable)]


_TYPES: Final[Mapping[str, Callable[[Field], Any]]] = {
    "string": lambda field: _text(field, pattern=field.anchored_pattern),
    "text": lambda field: _text(field, pattern=None),
    "integer": lambda _: _INTEGER_TYPE,
    "boolean": lambda _: Annotated[bool, Strict()],
    "date": lambda _: _DATE_TYPE,
    "timestamp": lambda _: _INSTANT_TYPE,
    "uuid": lambda _: _UUID_TYPE,
    "enum": lambda field: Literal[field.values or ()],
    "money": lambda field: Annotated[
        _INTEGER_TYPE, Described(description=f"{field.currency}, in minor units")
    ],
    "decimal": _decimal_type,
    "json": _json_type,
    "reference": lambda field: Annotated[
        _UUID_TYPE, Described(description=f"The id of a row of {field.collection}")
    ],
}


def value_type(field: Field, ids: AbstractSet[str] | None = None) -> Any:
    """The annotated Python type of a field's values, without its nullability; for pydantic.

    With `ids`, a reference must be one of them. A computed field is read as its result, which
    `Collection.columns` gives: by itself it has no type (ValueError).
    """
    if field.kind == "computed":
        raise ValueError("a computed field is read as its result")
    kind = _TYPES[field.kind](field)
    return kind if ids is None else Annotated[kind, AfterValidator(_one_of(ids))]


def _one_of(ids: AbstractSet[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in ids:
            raise ValueError("must be the id of a declared row")
        return value

    return check


class ValueReader:
    """Reads JSON values of one field, strictly. A pattern binds what is stored, not sought.

    So do `ids`: those that a reference to declared rows may be.
    """

    def __init__(
        self, field: Field, *, stored: bool = False, ids: AbstractSet[str] | None = None
    ) -> None:
        read = field if stored else field.model_copy(update={"pattern": None})
        kind = value_type(read, ids if stored else None)
        self._adapter: TypeAdapter[Value] = TypeAdapter(kind)

    def read(self, value: object) -> Value:
        """The typed value. Raises ValueError whose text is the rule, never the value."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise ValueError(first["msg"].removeprefix("Value error, ")) from None


def to_json(value: Value | None) -> Json:
    """A typed value as JSON: dates and instants become RFC 3339 text, decimals plain text."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Decimal):
        return _decimal_json(value)
    return value.isoformat() if isinstance(value, date) else value
