"""What the parts of one collection ask of each other. Not the rules of a part by itself."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from typing import Final

from control_plane.data.declaration_errors import DeclarationError
from control_plane.data.field import OPEN_GROUP, Field
from control_plane.data.formula import computed_field
from control_plane.data.values import ValueReader

INDEXES_MAX: Final = 16
# An entry of a Postgres index has at most 2704 bytes; a character has up to four of them.
INDEX_CHARS_MAX: Final = 600
_ID_CHARS: Final = 36
_UNINDEXED_KINDS: Final = frozenset({"text", "json"})
_TEXT_KINDS: Final = frozenset({"string", "enum"})
_UNDECLARED_KINDS: Final = frozenset({"json", "reference", "computed"})


def resolved_fields(fields: Mapping[str, Field]) -> Mapping[str, Field]:
    """The fields, each computed one as its result is read. Raises DeclarationError."""
    return {name: _resolved(name, field, fields) for name, field in fields.items()}


def _resolved(name: str, field: Field, fields: Mapping[str, Field]) -> Field:
    if field.formula is None:
        return field
    try:
        return computed_field(field, field.formula, fields)
    except DeclarationError as error:
        raise DeclarationError(error.rule, "fields", name, *error.path) from None


def check_defaults(fields: Mapping[str, Field]) -> None:
    """Each default must be a value that its field reads. Raises DeclarationError."""
    for name, field in fields.items():
        if field.default is None:
            continue
        try:
            ValueReader(field, stored=True).read(field.default)
        except ValueError as error:
            raise DeclarationError(str(error), "fields", name, "default") from None


def check_indexes(indexes: Sequence[Sequence[str]], fields: Mapping[str, Field]) -> None:
    """Over resolved fields that have an order, few and short. Raises DeclarationError."""
    for place, index in enumerate(indexes):
        for part, name in enumerate(index):
            field = fields.get(name)
            if field is None:
                raise DeclarationError("must be a declared field", "indexes", place, part)
            if field.kind in _UNINDEXED_KINDS:
                rule = f"kind {field.kind} has no index"
                raise DeclarationError(rule, "indexes", place, part)
        if len(set(index)) != len(index):
            raise DeclarationError("must not repeat a field", "indexes", place)
        if list(index) in [list(other) for other in indexes[:place]]:
            raise DeclarationError("must not repeat an index", "indexes", place)
        _check_length([fields[name] for name in index], "indexes", place)
    for name, field in fields.items():
        if field.unique:
            _check_length([field], "fields", name, "unique")


def check_groups(groups: Mapping[str, object], fields: Mapping[str, Field]) -> None:
    """A group that is told of must be some field's. Raises DeclarationError."""
    used = {field.group for field in fields.values()}
    for name in groups:
        if name not in used:
            raise DeclarationError("must be the group of a field", "groups", name)


def check_handled(
    handled: AnyCollection[str], fields: Mapping[str, Field], *, reference: bool
) -> None:
    """What leaves as a handle has a group of its own, in rows of a tenant. Raises DeclarationError."""
    for name in sorted(handled):
        path = ("groups", fields[name].group, "leaves_as")
        if reference:
            raise DeclarationError("does not belong to a reference collection", *path)
        if fields[name].group == OPEN_GROUP:
            raise DeclarationError(f"the group {OPEN_GROUP} leaves clear", *path)


def check_declared_rows_fields(fields: Mapping[str, Field]) -> None:
    """What a reference collection's fields cannot be. Raises DeclarationError."""
    for name, field in fields.items():
        if field.kind in _UNDECLARED_KINDS:
            rule = f"kind {field.kind} does not belong to a reference collection"
            raise DeclarationError(rule, "fields", name, "kind")
        for option in ("default", "unique"):
            if getattr(field, option) not in (None, False):
                rule = "does not belong to a reference collection"
                raise DeclarationError(rule, "fields", name, option)


def _check_length(fields: Sequence[Field], *path: str | int) -> None:
    if sum(_chars(field) for field in fields) > INDEX_CHARS_MAX:
        raise DeclarationError(f"must have at most {INDEX_CHARS_MAX} characters in all", *path)


def _chars(field: Field) -> int:
    return field.length_max if field.kind in _TEXT_KINDS else _ID_CHARS
