"""A collection as pydantic models: what is sent in, what comes out. Not tables, no masking."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic import Field as Described
from pydantic_core import PydanticCustomError

from control_plane.data.collection import COLLECTIONS_MAX, Collection
from control_plane.data.field import Field
from control_plane.data.handles import PREFIX, is_handle_text
from control_plane.data.values import ValueReader, value_type

_HANDLE_TYPE: Final[Any] = Annotated[
    str,
    StringConstraints(pattern=f"^{PREFIX}"),
    Described(description="A handle, in place of the value"),
]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Patch(_Row):
    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _something_is_set(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("at_least_one_field", "at least one field must be set")
        return self


@lru_cache(maxsize=COLLECTIONS_MAX)
def input_model(collection: Collection, *, handles: bool = False) -> type[BaseModel]:
    """What a caller sends to create a row: every declared field but the computed ones.

    One with a default, or a nullable one, may be left out. With `handles`, a field that leaves as
    a handle takes the text of one too.
    """
    fields: dict[str, Any] = {
        name: (_sent(collection, name, handles=handles), _of_new(field))
        for name, field in collection.fields.items()
        if name not in collection.computed
    }
    return _model(collection, "Input", fields, _Row)


@lru_cache(maxsize=COLLECTIONS_MAX)
def patch_model(collection: Collection, *, handles: bool = False) -> type[BaseModel]:
    """What a caller sends to change a row: at least one declared field that is not computed.

    What is unset stays as it is: dump it with `exclude_unset=True`. Null empties a nullable field.
    `handles` as in `input_model`.
    """
    fields: dict[str, Any] = {
        name: (_sent(collection, name, handles=handles), _absent())
        for name in collection.fields
        if name not in collection.computed
    }
    return _model(collection, "Patch", fields, _Patch)


@lru_cache(maxsize=COLLECTIONS_MAX)
def output_model(collection: Collection) -> type[BaseModel]:
    """What a caller gets of a row. Only the id is always there: what was not asked for, or may not
    be read, is absent; one that has no value is null.

    Dump it with `exclude_unset=True`; the tenant is the caller's own and does not come back.
    """
    fields: dict[str, Any] = {
        name: (_shown(collection, name), ... if name == "id" else _absent())
        for name in collection.columns
        if name != "tenant_id"
    }
    return _model(collection, "Output", fields, _Row)


def _model(
    collection: Collection, suffix: str, fields: dict[str, Any], base: type[BaseModel]
) -> type[BaseModel]:
    name = "".join(part.capitalize() for part in collection.name.split("_")) + suffix
    return create_model(name, __base__=base, __doc__=collection.description, **fields)


def _sent(collection: Collection, name: str, *, handles: bool) -> Any:
    field = collection.fields[name]
    kind = value_type(field, collection.declared_ids(name))
    if name in collection.handled:
        kind = _or_handle(kind) if handles else _never_handle(kind)
    return kind | None if field.nullable else kind


def _shown(collection: Collection, name: str) -> Any:
    field = collection.columns[name]
    kind = _HANDLE_TYPE if name in collection.handled else value_type(field)
    return kind | None if field.nullable else kind


def _never_handle(kind: Any) -> Any:
    return Annotated[kind, BeforeValidator(_no_handle)]


def _or_handle(kind: Any) -> Any:
    handle = TypeAdapter(_HANDLE_TYPE).json_schema()
    shown = {"anyOf": [TypeAdapter(kind).json_schema(), handle]}
    return Annotated[
        kind, WrapValidator(_read_handle), WrapSerializer(_told_handle), WithJsonSchema(shown)
    ]


def _no_handle(value: object) -> object:
    # A handle that nobody has resolved must not become the value.
    if is_handle_text(value):
        raise PydanticCustomError("unknown_handle", "unknown handle")
    return value


def _read_handle(value: Any, of_kind: ValidatorFunctionWrapHandler) -> Any:
    return value if is_handle_text(value) else of_kind(value)


def _told_handle(value: Any, of_kind: SerializerFunctionWrapHandler) -> Any:
    return value if is_handle_text(value) else of_kind(value)


def _of_new(field: Field) -> Any:
    if field.default is not None:
        return ValueReader(field, stored=True).read(field.default)
    return None if field.nullable else ...


def _absent() -> Any:
    # By a factory, so that no schema shows a default: what is absent is not null.
    return Described(default_factory=_nothing)


def _nothing() -> None:
    return None
