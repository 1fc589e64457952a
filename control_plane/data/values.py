"""The values of a field: their Python types, strictly read from JSON. Not their columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

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

from control_plane.data.field import Field
from control_plane.domain.canonical import instant

Value: TypeAlias = str | int | bool | date | datetime

INTEGER_MAX: Final = 2**53 - 1  # what every JSON reader takes without loss
UUID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_YEAR_MIN: Final = 1000  # four digits, so that text order is time order
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _storable(text: str) -> str:
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
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
}


def value_type(field: Field) -> Any:
    """The annotated Python type of a field's values, without its nullability; for pydantic."""
    return _TYPES[field.kind](field)


class ValueReader:
    """Reads JSON values of one field, strictly. A pattern binds what is stored, not sought."""

    def __init__(self, field: Field, *, stored: bool = False) -> None:
        read = field if stored else field.model_copy(update={"pattern": None})
        self._adapter: TypeAdapter[Value] = TypeAdapter(value_type(read))

    def read(self, value: object) -> Value:
        """The typed value. Raises ValueError whose text is the rule, never the value."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise ValueError(first["msg"]) from None


def to_json(value: Value | None) -> str | int | bool | None:
    """A typed value as JSON: dates and instants become RFC 3339 text."""
    if isinstance(value, datetime):
        return instant(value)
    return value.isoformat() if isinstance(value, date) else value
