"""Every mistake of one declaration, each with its line. Not the reading of one that is right.

A model tells the first rule that is broken between its parts and stops there. So each part that is
found wrong is told, mended in a copy, and the rest is looked at again; what only follows from a
part that was told already is not told.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from control_plane.data.collection import Collection, CollectionLimits, FieldGroup
from control_plane.data.declaration_errors import DeclarationError, Path
from control_plane.data.field import Field, Formula
from control_plane.domain.canonical import Json
from control_plane.domain.near_names import did_you_mean
from control_plane.domain.strict_yaml import Document

MISTAKES_MAX: Final = 100
_UNKNOWN: Final = "extra_forbidden"
_LISTS: Final = ("indexes", "verbs", "rows")
_OF_A_REFERENCE: Final = ("reference", "key", "rows")
_NOT_DECLARED: Final = "must be a declared field"
_FIELD_DEPTH, _OPTION_DEPTH = 2, 3


@dataclass(frozen=True, slots=True, order=True)
class Misdeclared:
    """One mistake: the line, the part by its keys with dots, and the rule. Never the value."""

    line: int
    part: str
    rule: str


def misdeclarations(document: Document, stem: str) -> tuple[Misdeclared, ...]:
    """What is wrong with the declaration in the file `<stem>.yaml`, at most `MISTAKES_MAX`."""
    copied = _Copy(document.value, stem)
    found: dict[tuple[int, str], Misdeclared] = {}
    for _ in range(MISTAKES_MAX):
        errors = copied.errors()
        for error in errors:
            if not copied.follows(error.path):
                one = _told(document, copied.original(error.path), error.rule)
                found.setdefault((one.line, one.part), one)
        if not errors or not copied.mend(errors):
            break
    return tuple(sorted(found.values()))[:MISTAKES_MAX]


class _Copy:
    """The declaration's values, in which parts that are wrong are mended one by one."""

    def __init__(self, value: Json, stem: str) -> None:
        self._value: Any = copy.deepcopy(value)
        self._stem = stem
        self._broken: set[str] = set()
        self._groups: set[str] = set()
        self._cut: set[Path] = set()
        self._places = {key: list(range(len(self._list(key)))) for key in _LISTS}

    def errors(self) -> list[DeclarationError]:
        """What the model finds now."""
        try:
            # Through JSON, as a catalog is read.
            collection = Collection.model_validate_json(json.dumps(self._value))
        except ValidationError as error:
            return [self._error(one) for one in error.errors(include_url=False)]
        if collection.name != self._stem:
            return [DeclarationError("must be the file's name without .yaml", "name")]
        return []

    def original(self, path: Path) -> Path:
        """The path of a part as it was before anything was mended."""
        if len(path) > 1 and path[0] in _LISTS and isinstance(path[1], int):
            return (path[0], self._places[str(path[0])][path[1]], *path[2:])
        return path

    def follows(self, path: Path) -> bool:
        """Whether the error at a path only follows from a part that was told already."""
        if any(path[:length] in self._cut for length in range(1, len(path) + 1)):
            return True
        if path[:1] == ("fields",) and len(path) > 1:
            return path[1] in self._broken or self._takes_broken(path)
        if path[:1] == ("groups",) and len(path) > 1:
            return path[1] in self._groups
        if path[:1] == ("indexes",):
            index = _items(self._at(path[:2]))
            return not self._broken.isdisjoint(str(one) for one in index)
        return path[:1] == ("rows",) and not self._broken.isdisjoint(map(str, path[2:]))

    def mend(self, errors: list[DeclarationError]) -> bool:
        """Mend what is wrong, the last of a list first; False where nothing of it can be."""
        units = {_unit(error.path) for error in errors}
        ordered = sorted(units, key=lambda unit: (len(unit), str(unit[1:]).zfill(9)), reverse=True)
        mended = [self._mend(unit) for unit in ordered if unit]
        return any(mended)

    def _mend(self, unit: Path) -> bool:
        head = str(unit[0])
        if head == "fields":
            return len(unit) >= _FIELD_DEPTH and self._mend_field(unit)
        if len(unit) > 1 and head in _LISTS and self._remove(head, unit[1]):
            return True
        inner = _mapping(self._value.get(head))
        if len(unit) > 1 and unit[1] in inner:
            del inner[str(unit[1])]
            return True
        return self._mend_whole(head)

    def _mend_whole(self, head: str) -> bool:
        if (head,) in self._cut:
            return False
        self._cut.add((head,))
        if head in ("name", "description"):
            self._value[head] = self._stem
        elif head in _OF_A_REFERENCE:
            self._forget_reference()
        else:
            self._value.pop(head, None)
        return True

    def _mend_field(self, unit: Path) -> bool:
        fields = _mapping(self._value["fields"])
        name = str(unit[1])
        option = str(unit[2]) if len(unit) >= _OPTION_DEPTH else ""
        field = _mapping(fields.get(name))
        if name in self._broken:
            # Even a plain field does not do under this name.
            return fields.pop(name, None) is not None
        if option in field and option not in ("kind", "formula"):
            del field[option]
            self._cut.add(unit)
            return True
        self._broken.add(name)
        fields[name] = {"kind": "string", "max_length": 1, "nullable": True}
        group = field.get("group")
        if isinstance(group, str):
            fields[name]["group"] = group
            self._groups.add(group)
        if self._value.get("key") == name:
            self._forget_reference()
        for row in self._list("rows"):
            _mapping(row).pop(name, None)
        return True

    def _remove(self, key: str, place: object) -> bool:
        items = self._list(key)
        if not isinstance(place, int) or place >= len(items):
            return False
        del items[place]
        del self._places[key][place]
        if not items and key == "rows":
            self._forget_reference()
        elif not items:
            self._value.pop(key, None)
        return True

    def _forget_reference(self) -> None:
        for key in _OF_A_REFERENCE:
            self._value.pop(key, None)
            self._cut.add((key,))

    def _takes_broken(self, path: Path) -> bool:
        taken = _items(self._at((*path[:2], "formula", "fields")))
        in_formula = path[2:3] == ("formula",)
        return in_formula and not self._broken.isdisjoint(str(one) for one in taken)

    def _list(self, key: str) -> list[object]:
        return _items(self._at((key,)))

    def _at(self, path: Path) -> object:
        return _at(self._value, path)

    def _error(self, error: Any) -> DeclarationError:
        path: Path = tuple(part for part in error["loc"] if part != "[key]")
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, DeclarationError):
            path, rule = (*path, *cause.path), cause.rule
        else:
            rule = str(cause) if isinstance(cause, ValueError) else str(error["msg"])
        if error["type"] == _UNKNOWN:
            rule = f"is not known{did_you_mean(path[-1], _known(path))}"
        elif rule == _NOT_DECLARED:
            named = path[-1] if path[0] == "rows" else self._at(path)
            rule += did_you_mean(named, _mapping(self._at(("fields",))))
        return DeclarationError(rule, *path)


def _unit(path: Path) -> Path:
    """The part that is mended for an error at the path."""
    return path[: _OPTION_DEPTH if path[:1] == ("fields",) else _FIELD_DEPTH]


def _known(path: Path) -> Iterator[str]:
    models: Mapping[object, type[BaseModel]] = {"groups": FieldGroup, "limits": CollectionLimits}
    model: type[BaseModel] = Collection if len(path) == 1 else models.get(path[0], Field)
    yield from (Formula if "formula" in path[:-1] else model).model_fields


def _told(document: Document, path: Path, rule: str) -> Misdeclared:
    standing = path
    while standing and standing not in document.lines:
        standing = standing[:-1]
    # What a model adds behind a value, as the name of one of its types, is no part of the file.
    shown = path if isinstance(_at(document.value, standing), dict | list) else standing
    return Misdeclared(document.lines.get(standing, 1), ".".join(map(str, shown)), rule)


def _at(value: object, path: Path) -> object:
    for part in path:
        if isinstance(part, str):
            value = _mapping(value).get(part)
        else:
            items = _items(value)
            value = items[part] if part < len(items) else None
    return value


def _mapping(value: object) -> dict[str, Any]:
    """The very object, or an empty one where there is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    """The very list, or an empty one where there is none."""
    return cast("list[object]", value) if isinstance(value, list) else []
