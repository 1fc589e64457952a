"""Makes a cloud's schema file of a table that was written by hand. Reads no provider and no package.

`python -m tests.support.schemas.regenerate_documented` writes `ibm.json.gz` of `ibm_documented.yaml`,
whose first lines say what its cells mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import yaml

from tests.support.simulated.schema import Block, schema_path, write_schema

Cell: TypeAlias = str | list[str] | Mapping[str, Any]

TABLE: Final = Path(__file__).parent / "ibm_documented.yaml"
_COLLECTION: Final = re.compile(r"(list|set|map)\((.+)\)")
_PLAIN: Final = frozenset({"string", "number", "bool"})
_FLAGS: Final = frozenset({"required", "optional", "computed", "sensitive", "write_only"})
_NEW: Final = "new"


def schema(table: Mapping[str, Any]) -> dict[str, Any]:
    """The schema file's content, as its README says. ValueError names a cell that is not of the table's form."""
    resources = table["resources"]
    new = {name: _forced(cells) for name, cells in resources.items()}
    return {
        **{key: table[key] for key in ("provider", "version", "licence", "origin")},
        "provider_schema": _block(table["provider_schema"]),
        "resources": {name: _with_id(cells) for name, cells in resources.items()},
        "data": {name: _with_id(cells) for name, cells in table["data"].items()},
        "force_new": {name: arguments for name, arguments in new.items() if arguments},
    }


def _with_id(cells: Mapping[str, Any]) -> Block:
    made = _block(cells)
    made["attributes"]["id"] = {"type": "string", "optional": True, "computed": True}
    return made


def _block(cells: Mapping[str, Any]) -> Block:
    attributes: Block = {}
    blocks: Block = {}
    for name, cell in cells.items():
        if isinstance(cell, list):
            blocks[name] = _timeouts(cast("list[str]", cell))
        elif "block" in cell and not isinstance(cell, str):
            blocks[name] = _nested(cell)
        else:
            attributes[name] = _attribute(name, cell)
    return {"attributes": attributes, **({"block_types": blocks} if blocks else {})}


def _attribute(name: str, cell: str | Mapping[str, Any]) -> Block:
    flags = _flags(cell)
    if not flags or not flags <= _FLAGS | {_NEW}:
        raise ValueError(f"{name}: flags")
    kind = cell.split()[0] if isinstance(cell, str) else cell
    return {"type": _type(name, kind), **dict.fromkeys(sorted(flags & _FLAGS), True)}


def _type(name: str, kind: str | Mapping[str, Any]) -> Any:
    """What Terraform calls the type: a word, or a list that begins with the collection's kind."""
    if not isinstance(kind, str):
        members = {key: _type(key, one) for key, one in kind["of"].items()}
        return [kind["value"], ["object", members]]
    if kind in _PLAIN:
        return kind
    found = _COLLECTION.fullmatch(kind)
    if found is None:
        raise ValueError(f"{name}: type")
    return [found[1], _type(name, found[2])]


def _nested(cell: Mapping[str, Any]) -> Block:
    made: Block = {"nesting_mode": cell["block"], "block": _block(cell["of"])}
    if "required" in _flags(cell):
        made["min_items"] = 1
    if "max" in cell:
        made["max_items"] = cell["max"]
    return made


def _timeouts(names: list[str]) -> Block:
    attributes = {name: {"type": "string", "optional": True} for name in names}
    return {"nesting_mode": "single", "block": {"attributes": attributes}}


def _forced(cells: Mapping[str, Any]) -> list[str]:
    return sorted(name for name, cell in cells.items() if _NEW in _flags(cell))


def _flags(cell: Cell) -> set[str]:
    if isinstance(cell, list):
        return set()
    return set(cell.split()[1:] if isinstance(cell, str) else cell.get("is", "").split())


if __name__ == "__main__":
    write_schema(schema_path("ibm"), schema(yaml.safe_load(TABLE.read_text(encoding="utf-8"))))
