"""The columns' types: the same order, equality and sums in every engine. Not the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Date, DateTime, Dialect, Numeric, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from control_plane.data.field import Field

_ID_CHARS: Final = 36
_ENUM_CHARS: Final = 64


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware datetime, kept and given back in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime; SQLite keeps UTC without saying so."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a timestamp must be aware")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,
    ) -> datetime | None:
        """Say UTC again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal with exactly `scale` decimals; SQLite, which has none, counts the last one's units."""

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Whole numbers on SQLite, else NUMERIC."""
        kept = BigInteger() if dialect.name == "sqlite" else Numeric(self.precision, self.scale)
        return dialect.type_descriptor(kept)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Refuse what would be rounded."""
        if value is None:
            return None
        units = value.scaleb(self.scale)
        if units != units.to_integral_value():
            raise ValueError(f"a decimal must have at most {self.scale} decimals")
        return int(units) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """The decimal that was kept, or the sum of such."""
        if value is None or dialect.name != "sqlite":
            return None if value is None else Decimal(value)
        return Decimal(int(value)).scaleb(-self.scale)


def short_text(chars_max: int) -> TypeEngine[str]:
    """A string of at most so many characters, ordered by code point."""
    # Everywhere: a cursor and a filter must not depend on a locale.
    return String(chars_max).with_variant(String(chars_max, collation="C"), "postgresql")


_TYPES: Final[Mapping[str, Callable[[Field], TypeEngine[Any]]]] = {
    "string": lambda field: short_text(field.length_max),
    "text": lambda _: Text().with_variant(Text(collation="C"), "postgresql"),
    "integer": lambda _: BigInteger(),
    "boolean": lambda _: Boolean(create_constraint=True),
    "date": lambda _: Date(),
    "timestamp": lambda _: UtcTimestamp(),
    "uuid": lambda _: short_text(_ID_CHARS),
    "enum": lambda _: short_text(_ENUM_CHARS),
    "money": lambda _: BigInteger(),
    "decimal": lambda field: ExactDecimal(field.precision or 1, field.scale or 0),
    "json": lambda _: JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"),
    "reference": lambda _: short_text(_ID_CHARS),
}


def column_type(field: Field) -> TypeEngine[Any]:
    """The type of a field's column; a computed field is given as its result is read."""
    return _TYPES[field.kind](field)
