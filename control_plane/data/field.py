"""A field: one declared column of a collection. Not its values, nor a right to see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from annotated_types import Ge, Le, Len
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic import Field as Described
from pydantic_core import SchemaError

from control_plane.data.declaration_errors import DeclarationError

Kind: TypeAlias = Literal[
    "string",
    "text",
    "integer",
    "boolean",
    "date",
    "timestamp",
    "uuid",
    "enum",
    "money",
    "decimal",
    "json",
    "reference",
    "computed",
]
FormulaOp: TypeAlias = Literal["concat", "sum", "difference", "product"]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]

FIELDS_MAX: Final = 64
OPEN_GROUP: Final = "general"  # for whoever may query
PRECISION_MAX: Final = 18
SCALE_MAX: Final = 9
LENGTH_MAX: Final = {"string": 1_000, "text": 100_000, "json": 100_000}
_LENGTH_DEFAULT: Final = {"string": 255, "text": 10_000, "json": 10_000}
OPTIONS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "string": ("max_length", "pattern", "default", "unique"),
    "text": ("max_length", "default"),
    "integer": ("default", "unique"),
    "boolean": ("default",),
    "date": ("default", "unique"),
    "timestamp": ("default",),
    "uuid": ("default", "unique"),
    "enum": ("values", "default", "unique"),
    "money": ("currency", "default"),
    "decimal": ("precision", "scale", "default"),
    "json": ("max_length",),
    "reference": ("collection", "unique"),
    "computed": ("formula",),
}
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "enum": ("values",),
    "money": ("currency",),
    "decimal": ("precision", "scale"),
    "reference": ("collection",),
    "computed": ("formula",),
}
_OPTIONS: Final = tuple(dict.fromkeys(option for known in OPTIONS.values() for option in known))


def _scalar(value: object) -> object:
    if value is not None and not isinstance(value, str | int):
        raise ValueError("must be text, a whole number, true or false")
    return value


Scalar: TypeAlias = Annotated[str | int | bool | None, BeforeValidator(_scalar)]


class Formula(BaseModel):
    """One operation over fields of the same row, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    op: Annotated[FormulaOp, Described(description="What is done with the fields, in their order.")]
    fields: Annotated[
        tuple[Name, ...], Len(2, 8), Described(description="The fields of the row that it takes.")
    ]
    separator: Annotated[
        Annotated[str, StringConstraints(max_length=10)] | None,
        Described(description="What stands between the parts of a concat."),
    ] = None

    @model_validator(mode="after")
    def _separator_fits(self) -> Formula:
        if self.separator is not None and self.op != "concat":
            raise DeclarationError(f"does not belong to op {self.op}", "separator")
        if self.separator is not None and "\x00" in self.separator:
            raise DeclarationError("must be Unicode text without NUL", "separator")
        return self


class Field(BaseModel):
    """One declared field. `money` is an integer count of the currency's minor units."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Annotated[Kind, Described(description="What the values are.")]
    description: Annotated[
        str, StringConstraints(max_length=500), Described(description="For people and agents.")
    ] = ""
    nullable: Annotated[bool, Described(description="Whether it may be empty.")] = False
    group: Annotated[
        Name,
        Described(
            description="Who may read it: another group than general has an action of its own."
        ),
    ] = "general"
    max_length: Annotated[
        Annotated[int, Ge(1)] | None, Described(description="Characters, at most.")
    ] = None
    pattern: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=200)] | None,
        Described(description="A regular expression for the whole value, without look-around."),
    ] = None
    values: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] | None,
        Described(description="The allowed values."),
    ] = None
    currency: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None,
        Described(description="The currency of the amount, by ISO 4217."),
    ] = None
    precision: Annotated[
        Annotated[int, Ge(1), Le(PRECISION_MAX)] | None,
        Described(description="Digits in all, at most."),
    ] = None
    scale: Annotated[
        Annotated[int, Ge(0), Le(SCALE_MAX)] | None,
        Described(description="Digits behind the point, always."),
    ] = None
    collection: Annotated[
        Name | None, Described(description="The collection whose row it names by id.")
    ] = None
    formula: Annotated[
        Formula | None, Described(description="What it is made of; nobody sets it.")
    ] = None
    default: Annotated[
        Scalar, Described(description="The value of a new row that is given none.")
    ] = None
    unique: Annotated[
        bool, Described(description="Whether no two rows of a tenant may have the same value.")
    ] = False

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Field:
        for option in _OPTIONS:
            if self._has(option) and option not in OPTIONS[self.kind]:
                raise DeclarationError(f"does not belong to kind {self.kind}", option)
        for option in REQUIRED.get(self.kind, ()):
            if not self._has(option):
                raise DeclarationError(f"kind {self.kind} needs it", option)
        if self.kind == "computed" and self.nullable:
            raise DeclarationError("does not belong to kind computed", "nullable")
        if self.max_length is not None and self.max_length > LENGTH_MAX[self.kind]:
            raise DeclarationError(f"must be at most {LENGTH_MAX[self.kind]}", "max_length")
        if self.scale is not None and self.scale > (self.precision or 0):
            raise DeclarationError("must not be more than precision", "scale")
        return self

    def _has(self, option: str) -> bool:
        value = getattr(self, option)
        return value is not None and not (option == "unique" and value is False)

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
        """The most characters that a value may have; of kinds that are stored as text."""
        if self.values is not None:
            return max(len(value) for value in self.values)
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
