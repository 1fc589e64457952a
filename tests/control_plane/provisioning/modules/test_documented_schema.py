"""The schema that was written by hand: how its table is read, and that its file is the table's. Not whether the table is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.schemas.regenerate_documented import TABLE, schema
from tests.support.simulated.schema import schema_path, write_schema


def table_of(cells: dict[str, Any]) -> dict[str, Any]:
    head = dict.fromkeys(("provider", "version", "licence", "origin"), "")
    return head | {"provider_schema": {}, "data": {}, "resources": {"ibm_thing": cells}}


def block_of(cells: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = schema(table_of(cells))["resources"]["ibm_thing"]
    return made


def test_the_file_is_what_the_table_makes(tmp_path: Path) -> None:
    made = tmp_path / "made.json.gz"
    write_schema(made, schema(yaml.safe_load(TABLE.read_text(encoding="utf-8"))))
    assert made.read_bytes() == schema_path("ibm").read_bytes()


def test_a_cell_is_a_type_and_its_flags() -> None:
    made = block_of({"tags": "set(string) optional computed", "key": "string required sensitive"})
    assert made["attributes"] == {
        "tags": {"type": ["set", "string"], "optional": True, "computed": True},
        "key": {"type": "string", "required": True, "sensitive": True},
        "id": {"type": "string", "optional": True, "computed": True},
    }
    assert "block_types" not in made


def test_a_block_is_bounded_as_its_cell_says() -> None:
    inner = {"block": "list", "max": 1, "is": "required", "of": {"name": "string required"}}
    made = block_of({"target": inner, "timeouts": ["create"]})["block_types"]
    assert (made["target"]["min_items"], made["target"]["max_items"]) == (1, 1)
    assert made["target"]["block"]["attributes"] == {"name": {"type": "string", "required": True}}
    assert made["timeouts"]["nesting_mode"] == "single"


def test_a_computed_list_of_objects_is_one_attribute() -> None:
    hosts = {"value": "list", "of": {"port": "number"}}
    cell = {"value": "list", "is": "computed", "of": {"hosts": hosts, "name": "string"}}
    port = ["list", ["object", {"port": "number"}]]
    assert block_of({"postgres": cell})["attributes"]["postgres"] == {
        "type": ["list", ["object", {"hosts": port, "name": "string"}]],
        "computed": True,
    }


def test_what_cannot_be_changed_in_place_is_listed() -> None:
    block = {"block": "set", "is": "optional new", "of": {"name": "string required"}}
    made = schema(
        table_of({"name": "string required new", "rule": block, "size": "number optional"})
    )
    assert made["force_new"] == {"ibm_thing": ["name", "rule"]}


@pytest.mark.parametrize(
    "cell", ["string", "string needed", "text optional", "list string optional"]
)
def test_a_cell_of_another_form_is_named(cell: str) -> None:
    with pytest.raises(ValueError, match="size: "):
        block_of({"size": cell})
