"""A collection: a table that a workspace declares. Not its rows, nor a right to see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from annotated_types import Ge, Le, Len
from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import SchemaError

from control_plane.domain.canonical import digest
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput

Kind: TypeAlias = Literal[
    "string", "text", "integer", "boolean", "date", "timestamp", "uuid", "enum", "money"
]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]

COLLECTIONS_MAX: Final = 256
FIELDS_MAX: Final = 64
SAMPLES: Final = Path(__file__).with_name("sample")
_LENGTH_MAX: Final = {"string": 1_000, "text": 100_000}
_LENGTH_DEFAULT: Final = {"string": 255, "text": 10_000}
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"max_length", "pattern"}),
    "text": frozenset({"max_length"}),
    "enum": frozenset({"values"}),
    "money": frozenset({"currency"}),
}
_REQUIRED: Final[Mapping[str, str]] = {"enum": "values", "money": "currency"}
_RESERVED_PREFIXES: Final = ("paybill_", "sqlite_", "pg_")


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


class CollectionLimits(BaseModel):
    """What one answer about the collection may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    page_rows_max: Annotated[int, Ge(1), Le(1_000)] = 100


class Collection(BaseModel):
    """A declared table; every row also has `id`, `tenant_id`, `version` and `created_at`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    fields: Annotated[Mapping[Name, Field], Len(1, FIELDS_MAX)]
    limits: CollectionLimits = CollectionLimits()

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name.startswith(_RESERVED_PREFIXES):
            raise ValueError("must not start with " + ", ".join(_RESERVED_PREFIXES))
        return name

    @field_validator("fields")
    @classmethod
    def _field_names_are_free(cls, fields: Mapping[str, Field]) -> Mapping[str, Field]:
        if not IMPLICIT_FIELDS.keys().isdisjoint(fields):
            raise ValueError("must not declare " + ", ".join(IMPLICIT_FIELDS))
        return fields

    @property
    def columns(self) -> Mapping[str, Field]:
        """Every column by name, the implicit ones first."""
        return {**IMPLICIT_FIELDS, **self.fields}

    def digest(self) -> str:
        """SHA-256 of the whole declaration, 64 hexadecimal digits."""
        return digest(self)


def load_collection(path: Path) -> Collection:
    """Read one declaration. Raises BadInput naming file, field and rule; never the value."""
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        # Through JSON, so that a YAML list is a tuple and nothing else is turned into anything.
        collection = Collection.model_validate_json(json.dumps(data))
    except UnicodeDecodeError:
        raise BadInput(path.name, "must be UTF-8") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise BadInput(f"{path.name}: {where}".removesuffix(": "), first["msg"]) from None
    if collection.name != path.stem:
        raise BadInput(f"{path.name}: name", "must be the file's name without .yaml")
    return collection


def load_collections(folder: Path) -> tuple[Collection, ...]:
    """Read every `*.yaml` of a folder, ordered by name; a missing folder holds none."""
    paths = sorted(folder.glob("*.yaml"))
    if len(paths) > COLLECTIONS_MAX:
        raise BadInput(folder.name, f"must hold at most {COLLECTIONS_MAX} collections")
    return tuple(load_collection(path) for path in paths)
