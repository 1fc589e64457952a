"""The published JSON Schema of a collection's file: as it is made, and as editors use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from control_plane.data.collection import SAMPLES
from control_plane.data.collection_schema import collection_schema

PUBLISHED: Final = "docs/reference/collection.schema.json"
DEAL: Final[dict[str, Any]] = {
    "name": "deals",
    "description": "What is sold.",
    "fields": {
        "person": {"kind": "reference", "collection": "people", "unique": True},
        "count": {"kind": "integer", "default": 1},
        "weight": {"kind": "decimal", "precision": 8, "scale": 2, "default": "1.00"},
        "extra": {"kind": "json", "max_length": 100},
        "twice": {"kind": "computed", "formula": {"op": "sum", "fields": ["count", "count"]}},
    },
    "indexes": [["count"]],
    "verbs": ["query"],
}


def valid(declared: Any) -> bool:
    validator: Any = Draft202012Validator(collection_schema())
    return bool(validator.is_valid(declared))


def field(**options: object) -> dict[str, Any]:
    return {**DEAL, "fields": {"one": options}}


def test_the_published_text_is_the_schema(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / PUBLISHED).read_text(encoding="utf-8")
    assert text == json.dumps(collection_schema(), indent=2, ensure_ascii=False) + "\n"
    Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("name", ["contacts", "currencies"])
def test_the_samples_keep_the_schema(name: str) -> None:
    sample: Path = SAMPLES / f"{name}.yaml"
    assert valid(yaml.safe_load(sample.read_text(encoding="utf-8")))


def test_a_declaration_with_every_new_part_keeps_it() -> None:
    assert valid(DEAL)


WRONG: list[dict[str, Any]] = [
    {**DEAL, "colour": "red"},
    {**DEAL, "name": "paybill_deals"},
    {**DEAL, "fields": {}},
    {**DEAL, "fields": {"One": {"kind": "integer"}}},
    {**DEAL, "verbs": ["drop"]},
    {**DEAL, "indexes": [[]]},
    {**DEAL, "key": "count"},
    {**DEAL, "reference": True},
    {**DEAL, "limits": {"bulk_rows_max": 1_001}},
    {**DEAL, "groups": {"pii": {}}},
    field(kind="varchar"),
    field(kind="integer", max_length=3),
    field(kind="string", max_length=1_001),
    field(kind="enum"),
    field(kind="decimal", precision=8),
    field(kind="integer", default="1"),
    field(kind="json", default="1"),
    field(kind="computed", formula={"op": "sum", "fields": ["one"]}),
    field(kind="computed", formula={"op": "sum", "fields": ["a", "b"]}, nullable=True),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_editor_is_told_of_what_the_catalog_would_refuse(wrong: dict[str, Any]) -> None:
    assert not valid(wrong)


def test_every_option_has_a_description() -> None:
    schema = collection_schema()
    models = [schema, *schema["$defs"].values(), *schema["$defs"]["Field"]["oneOf"]]
    silent = [
        name
        for model in models
        for name, option in model.get("properties", {}).items()
        if not option.get("description")
    ]
    assert silent == []
