"""A collection: a table that a workspace declares. Not its rows, nor a right to see them.

A reference collection is the exception: its rows are declared with it, the same for every tenant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args
from uuid import UUID, uuid5

from annotated_types import Ge, Le, Len
from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic import Field as Described

from control_plane.data.collection_rules import (
    INDEXES_MAX,
    check_declared_rows_fields,
    check_defaults,
    check_groups,
    check_handled,
    check_indexes,
    resolved_fields,
)
from control_plane.data.declaration_errors import DeclarationError, first_error, misdeclared
from control_plane.data.field import FIELDS_MAX, IMPLICIT_FIELDS, Field, Name, Scalar
from control_plane.data.values import Value, ValueReader
from control_plane.domain import strict_yaml
from control_plane.domain.canonical import canonical, digest
from control_plane.domain.strict_yaml import parse_document
from control_plane.errors import BadInput

Verb: TypeAlias = Literal[
    "query", "get", "create", "update", "delete", "aggregate", "bulk_update", "bulk_delete"
]

COLLECTIONS_MAX: Final = 256
REFERENCE_ROWS_MAX: Final = 1_000
SAMPLES: Final = Path(__file__).with_name("sample")
RESERVED_PREFIXES: Final = ("paybill_", "sqlite_", "pg_")
_KEY_KINDS: Final = frozenset({"string", "enum", "integer", "uuid"})
_READING_VERBS: Final[tuple[Verb, ...]] = ("query", "get", "aggregate")
_ROW_IDS: Final = UUID("5f1c4c0e-7d0b-4a53-9a54-0c2f3f1d7b11")

DeclaredRow: TypeAlias = Mapping[Name, Scalar]
_Index: TypeAlias = Annotated[tuple[Name, ...], Len(1, 4)]


class CollectionLimits(BaseModel):
    """What one answer about the collection may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    page_rows_max: Annotated[int, Ge(1), Le(1_000), Described(description="Rows in one page.")] = (
        100
    )
    bulk_rows_max: Annotated[
        int, Ge(1), Le(1_000), Described(description="Rows that one change may touch.")
    ] = 100


class FieldGroup(BaseModel):
    """What holds for the fields of a group, beyond who may read them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_extra={"minProperties": 1}
    )

    group_size_min: Annotated[
        Annotated[int, Ge(1), Le(100)] | None,
        Described(description="Rows that an aggregate must be over, at least."),
    ] = None
    leaves_as: Annotated[
        Literal["clear", "handle"],
        Described(description="Whether its values leave, or handles that stand for them."),
    ] = "clear"

    @model_validator(mode="after")
    def _something_is_said(self) -> FieldGroup:
        if not self.model_fields_set:
            raise DeclarationError("must say something of the group")
        return self


class Collection(BaseModel):
    """A declared table; every row also has `id`, `tenant_id`, `version` and `created_at`.

    A reference collection's rows have `id` alone: made of their `key`, the same everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[Name, Described(description="The file's name without .yaml.")]
    description: Annotated[
        str,
        StringConstraints(min_length=1, max_length=500),
        Described(description="For people and agents."),
    ]
    fields: Annotated[
        Mapping[Name, Field], Len(1, FIELDS_MAX), Described(description="The fields by name.")
    ]
    indexes: Annotated[
        tuple[_Index, ...],
        Len(0, INDEXES_MAX),
        Described(description="Lists of fields that are sorted and filtered by together."),
    ] = ()
    groups: Annotated[
        Mapping[Name, FieldGroup],
        Len(0, FIELDS_MAX),
        Described(description="What holds for field groups, by name."),
    ] = {}
    verbs: Annotated[
        Annotated[tuple[Verb, ...], Len(1, len(get_args(Verb)))] | None,
        Described(description="What can be done with its rows; without it, all."),
    ] = None
    limits: Annotated[CollectionLimits, Described(description="What one answer may cost.")] = (
        CollectionLimits()
    )
    reference: Annotated[
        bool, Described(description="Whether its rows stand here, the same for every tenant.")
    ] = False
    key: Annotated[
        Name | None, Described(description="The field that tells declared rows apart.")
    ] = None
    rows: Annotated[
        tuple[DeclaredRow, ...],
        Len(0, REFERENCE_ROWS_MAX),
        Described(description="The rows of a reference collection."),
    ] = ()
    # By field: the ids that a reference to declared rows may be. Known once all are read.
    _declared_ids: Mapping[str, frozenset[str]] = PrivateAttr(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name.startswith(RESERVED_PREFIXES):
            raise ValueError("must not start with " + ", ".join(RESERVED_PREFIXES))
        return name

    @field_validator("fields")
    @classmethod
    def _field_names_are_free(cls, fields: Mapping[str, Field]) -> Mapping[str, Field]:
        for name in fields:
            if name in IMPLICIT_FIELDS:
                rule = "must not declare " + ", ".join(IMPLICIT_FIELDS)
                raise DeclarationError(rule, name)
        return fields

    @model_validator(mode="after")
    def _parts_agree(self) -> Collection:
        if self.reference:
            check_declared_rows_fields(self.fields)
        check_defaults(self.fields)
        check_indexes(self.indexes, resolved_fields(self.fields))
        check_groups(self.groups, self.fields)
        check_handled(self.handled, self.columns, reference=self.reference)
        verbs = self.verbs or ()
        for place, verb in enumerate(verbs):
            if verb in verbs[:place]:
                raise DeclarationError("must not repeat a verb", "verbs", place)
            if self.reference and verb not in _READING_VERBS:
                known = ", ".join(_READING_VERBS)
                raise DeclarationError(f"a reference collection has only {known}", "verbs", place)
        if self.reference and self.indexes:
            raise DeclarationError("does not belong to a reference collection", "indexes")
        return self

    @model_validator(mode="after")
    def _rows_belong_to_a_reference(self) -> Collection:
        if not self.reference:
            for name in ("key", "rows"):
                if getattr(self, name):
                    raise DeclarationError("belongs to a reference collection", name)
            return self
        field = None if self.key is None else self.fields.get(self.key)
        if field is None or field.nullable or field.kind not in _KEY_KINDS:
            rule = (
                "a reference collection needs a key: a field of kind "
                + ", ".join(sorted(_KEY_KINDS))
                + " that is not nullable"
            )
            raise DeclarationError(rule, "key")
        if not self.rows:
            raise DeclarationError("a reference collection needs rows", "rows")
        seen: set[object] = set()
        for place, row in enumerate(self.reference_rows()):
            if row["id"] in seen:
                raise DeclarationError("must not repeat a key", "rows", place)
            seen.add(row["id"])
        return self

    def reference_rows(self) -> tuple[Mapping[str, Value | None], ...]:
        """The declared rows with typed values, each with its id; none unless a reference."""
        readers = {name: ValueReader(one, stored=True) for name, one in self.fields.items()}
        return tuple(self._typed(place, row, readers) for place, row in enumerate(self.rows))

    def _typed(
        self, place: int, row: DeclaredRow, readers: Mapping[str, ValueReader]
    ) -> Mapping[str, Value | None]:
        for name in row:
            if name not in self.fields:
                raise DeclarationError("must be a declared field", "rows", place, name)
        values: dict[str, Value | None] = {}
        for name, field in self.fields.items():
            value = row.get(name)
            try:
                absent = value is None and field.nullable
                values[name] = None if absent else readers[name].read(value)
            except ValueError as error:
                raise DeclarationError(str(error), "rows", place, name) from None
        named = canonical([self.name, row[str(self.key)]]).decode()
        return {"id": str(uuid5(_ROW_IDS, named)), **values}

    @property
    def implicit(self) -> Mapping[str, Field]:
        """The columns that nobody declares."""
        return {"id": IMPLICIT_FIELDS["id"]} if self.reference else IMPLICIT_FIELDS

    @cached_property
    def columns(self) -> Mapping[str, Field]:
        """Every column by name, the implicit ones first; a computed one as its result is read."""
        return {**self.implicit, **resolved_fields(self.fields)}

    @cached_property
    def handled(self) -> frozenset[str]:
        """The fields whose values never leave: a handle does instead."""
        groups = {name for name, group in self.groups.items() if group.leaves_as == "handle"}
        return frozenset(name for name, field in self.fields.items() if field.group in groups)

    @property
    def computed(self) -> frozenset[str]:
        """The fields that nobody sets."""
        return frozenset(name for name, field in self.fields.items() if field.kind == "computed")

    @property
    def offered_verbs(self) -> tuple[Verb, ...]:
        """What can be done with its rows."""
        if self.verbs is not None:
            return self.verbs
        return _READING_VERBS if self.reference else get_args(Verb)

    def declared_ids(self, name: str) -> frozenset[str] | None:
        """The ids that the reference field may have, where the rows it names are declared."""
        return self._declared_ids.get(name)

    def digest(self) -> str:
        """SHA-256 of the whole declaration, 64 hexadecimal digits."""
        return self._whole

    @cached_property
    def _whole(self) -> str:
        return digest(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As the base class does, but what differs has a digest and columns of its own."""
        copied = super().model_copy(update=update, deep=deep)
        for made in ("_whole", "columns", "handled"):
            vars(copied).pop(made, None)
        return copied

    def __hash__(self) -> int:
        """By the whole declaration: what is made of a collection is made once."""
        return hash(self._whole)

    def bound(self, others: Mapping[str, Collection]) -> Self:
        """The collection as one of `others`: what it refers to is there.

        Raises DeclarationError where it is not.
        """
        ids: dict[str, frozenset[str]] = {}
        for name, field in self.fields.items():
            if field.collection is None:
                continue
            target = others.get(field.collection)
            if target is None:
                rule = "must be a declared collection"
                raise DeclarationError(rule, "fields", name, "collection")
            if target.reference:
                ids[name] = frozenset(str(row["id"]) for row in target.reference_rows())
        if not ids:
            return self
        copied = self.model_copy()
        copied._declared_ids = ids  # noqa: SLF001 - one of its own class
        return copied


def bind_collections(collections: Sequence[Collection]) -> tuple[Collection, ...]:
    """The collections as one catalog's. Raises BadInput where one refers to none of them."""
    by_name = {one.name: one for one in collections}
    return tuple(_bound(one, by_name, {}) for one in collections)


def load_collection(path: Path) -> Collection:
    """Read one declaration by itself: what it refers to is not looked for.

    Raises BadInput naming file, line, field and rule; never the value.
    """
    return _read(path)[0]


def load_collections(folder: Path) -> tuple[Collection, ...]:
    """Read every `*.yaml` of a folder, ordered by name; a missing folder holds none.

    Raises BadInput as `load_collection`, and where one refers to a collection that is not there.
    """
    paths = sorted(folder.glob("*.yaml"))
    if len(paths) > COLLECTIONS_MAX:
        raise BadInput(folder.name, f"must hold at most {COLLECTIONS_MAX} collections")
    read = [_read(path) for path in paths]
    by_name = {one.name: one for one, _ in read}
    return tuple(_bound(one, by_name, lines) for one, lines in read)


def _read(path: Path) -> tuple[Collection, Mapping[strict_yaml.Path, int]]:
    try:
        document = parse_document(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError:
        raise BadInput(path.name, "must be UTF-8") from None
    try:
        # Through JSON, so that a YAML list is a tuple and nothing else is turned into anything.
        collection = Collection.model_validate_json(json.dumps(document.value))
        if collection.name != path.stem:
            raise DeclarationError("must be the file's name without .yaml", "name")
    except ValidationError as error:
        raise misdeclared(path.name, document.lines, first_error(error)) from None
    except DeclarationError as error:
        raise misdeclared(path.name, document.lines, error) from None
    return collection, document.lines


def _bound(
    collection: Collection,
    others: Mapping[str, Collection],
    lines: Mapping[strict_yaml.Path, int],
) -> Collection:
    try:
        return collection.bound(others)
    except DeclarationError as error:
        raise misdeclared(f"{collection.name}.yaml", lines, error) from None
