"""A collection: a table that a workspace declares. Not its rows, nor a right to see them.

A reference collection is the exception: its rows are declared with it, the same for every tenant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeAlias
from uuid import UUID, uuid5

from annotated_types import Ge, Le, Len
from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from control_plane.data.field import FIELDS_MAX, IMPLICIT_FIELDS, Field, Name
from control_plane.data.values import Value, ValueReader
from control_plane.domain.canonical import canonical, digest
from control_plane.domain.strict_yaml import parse_yaml
from control_plane.errors import BadInput

COLLECTIONS_MAX: Final = 256
REFERENCE_ROWS_MAX: Final = 1_000
SAMPLES: Final = Path(__file__).with_name("sample")
_RESERVED_PREFIXES: Final = ("paybill_", "sqlite_", "pg_")
_KEY_KINDS: Final = frozenset({"string", "enum", "integer", "uuid"})
_ROW_IDS: Final = UUID("5f1c4c0e-7d0b-4a53-9a54-0c2f3f1d7b11")

DeclaredRow: TypeAlias = Mapping[Name, str | int | bool | None]


class CollectionLimits(BaseModel):
    """What one answer about the collection may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    page_rows_max: Annotated[int, Ge(1), Le(1_000)] = 100


class Collection(BaseModel):
    """A declared table; every row also has `id`, `tenant_id`, `version` and `created_at`.

    A reference collection's rows have `id` alone: made of their `key`, the same everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    description: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    fields: Annotated[Mapping[Name, Field], Len(1, FIELDS_MAX)]
    limits: CollectionLimits = CollectionLimits()
    reference: bool = False
    key: Name | None = None
    rows: Annotated[tuple[DeclaredRow, ...], Len(0, REFERENCE_ROWS_MAX)] = ()

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

    @model_validator(mode="after")
    def _rows_belong_to_a_reference(self) -> Collection:
        if not self.reference:
            if self.key is not None or self.rows:
                raise ValueError("key and rows belong to a reference collection")
            return self
        field = None if self.key is None else self.fields.get(self.key)
        if field is None or field.nullable or field.kind not in _KEY_KINDS:
            raise ValueError(
                "a reference collection needs a key: a field of kind "
                + ", ".join(sorted(_KEY_KINDS))
                + " that is not nullable"
            )
        if not self.rows:
            raise ValueError("a reference collection needs rows")
        ids = {row["id"] for row in self.reference_rows()}
        if len(ids) != len(self.rows):
            raise ValueError("rows: must not repeat a key")
        return self

    def reference_rows(self) -> tuple[Mapping[str, Value | None], ...]:
        """The declared rows with typed values, each with its id; none unless a reference."""
        readers = {name: ValueReader(one, stored=True) for name, one in self.fields.items()}
        return tuple(self._typed(place, row, readers) for place, row in enumerate(self.rows))

    def _typed(
        self, place: int, row: DeclaredRow, readers: Mapping[str, ValueReader]
    ) -> Mapping[str, Value | None]:
        if not row.keys() <= self.fields.keys():
            raise ValueError(f"rows.{place}: must hold declared fields only")
        values: dict[str, Value | None] = {}
        for name, field in self.fields.items():
            value = row.get(name)
            try:
                absent = value is None and field.nullable
                values[name] = None if absent else readers[name].read(value)
            except ValueError as error:
                raise ValueError(f"rows.{place}.{name}: {error}") from None
        named = canonical([self.name, row[str(self.key)]]).decode()
        return {"id": str(uuid5(_ROW_IDS, named)), **values}

    @property
    def implicit(self) -> Mapping[str, Field]:
        """The columns that nobody declares."""
        return {"id": IMPLICIT_FIELDS["id"]} if self.reference else IMPLICIT_FIELDS

    @property
    def columns(self) -> Mapping[str, Field]:
        """Every column by name, the implicit ones first."""
        return {**self.implicit, **self.fields}

    def digest(self) -> str:
        """SHA-256 of the whole declaration, 64 hexadecimal digits."""
        return self._whole

    @cached_property
    def _whole(self) -> str:
        return digest(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As the base class does, but what differs has a digest of its own."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("_whole", None)
        return copied

    def __hash__(self) -> int:
        """By the whole declaration: what is made of a collection is made once."""
        return hash(self._whole)


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
