"""A field: one declared column of a collection. Not its values, nor a right to see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from annotated_types import Ge
from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_core import SchemaError

Kind: TypeAlias = Literal[
    "string", "text", "integer", "boolean", "date", "timestamp", "uuid", "enum", "money"
]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]

FIELDS_MAX: Final = 64
_LENGTH_MAX: Final = {"string": 1_000, "text": 100_000}
_LENGTH_DEFAULT: Final = {"string": 255, "text": 10_000}
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"max_length", "pattern"}),
    "text": frozenset({"max_length"}),
    "enum": frozenset({"values"}),
    "money": frozenset({"currency"}),
}
_REQUIRED: Final[Mapping[str, str]] = {"enum": "values", "money": "currency"}


class Field(BaseModel):
    """One declared field. `money` is an integer count of the currency's minor units."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Kind
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    nullable: bool = False
    group: Name = "general"
    max_length: Annotated[int, Ge(1)] | None = None
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    values: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Field:
        allowed = _OPTIONS.get(self.kind, frozenset())
        for option in ("max_length", "pattern", "values", "currency"):
            if getattr(self, option) is not None and option not in allowed:
                raise ValueError(f"{option} does not belong to kind {self.kind}")
        required = _REQUIRED.get(self.kind)
        if required is not None and getattr(self, required) is None:
            raise ValueError(f"kind {self.kind} needs {required}")
        if self.max_length is not None and self.max_length > _LENGTH_MAX[self.kind]:
            raise ValueError(f"max_length must be at most {_LENGTH_MAX[self.kind]}")
        return self

    @field_validator("values")
    @classmethod
    def _values_are_few_and_distinct(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if values is not None and not 1 <= len(values) <= FIELDS_MAX:
            raise ValueError(f"must hold 1 to {FIELDS_MAX} values")
        if values is not None and len(set(values)) != len(values):
            raise ValueError("must not repeat a value")
        return values

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                # Alone first: a pattern must not close the group that anchors it.
                TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
            except SchemaError:
                raise ValueError("must be a regular expression without look-around") from None
        return pattern

    @property
    def length_max(self) -> int:
        """The most characters a string or text may have."""
        return self.max_length or _LENGTH_DEFAULT[self.kind]

    @property
    def anchored_pattern(self) -> str | None:
        """The pattern as it is applied: to the whole value."""
        return None if self.pattern is None else f"^(?:{self.pattern})$"


IMPLICIT_FIELDS: Final[Mapping[str, Field]] = {
    "id": Field(kind="uuid"),
    "tenant_id": Field(kind="string", max_length=40),
    "version": Field(kind="integer"),
    "created_at": Field(kind="timestamp"),
}
