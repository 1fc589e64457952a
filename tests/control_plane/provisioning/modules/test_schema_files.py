"""The schema files that stand in for providers: their form, and how the published ones are read. Not the modules."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.schemas.regenerate_published import CORRECTIONS, PACKAGES, Bindings, correct
from tests.support.simulated.schema import SCHEMAS, Block, read_schema, write_schema

FILES: Final = sorted(SCHEMAS.glob("*.json.gz"))
FLAGS: Final = {"required", "optional", "computed", "sensitive", "write_only", "deprecated"}
NESTINGS: Final = {"list", "set", "map", "single", "group"}
SIMPLE: Final = {"string", "number", "bool", "dynamic"}

# As the bindings are generated: one resource with an argument of each kind, in a style of our own.
SCRIPT: Final = """\
function boxSideToHclTerraform(struct) {
    const attrs = {
        colours: {
            value: struct.colours === undefined ? null : cdktf.listMapperHcl(cdktf.stringToHclTerraform, false)(struct.colours),
            isBlock: false,
            type: "set",
            storageClassType: "stringList",
        },
        length_cm: {
            value: struct.lengthCm === undefined ? null : cdktf.numberToHclTerraform(struct.lengthCm),
            isBlock: false,
            type: "simple",
            storageClassType: "number",
        },
    };
}
class BoxSideOutputReference extends cdktf.ComplexObject {
    // area - computed: true, optional: false, required: false
    get area() {
        return this.getNumberAttribute('area');
    }
}
class Box extends cdktf.TerraformResource {
    constructor(scope, id, config) {
        // lid - computed: true, optional: false, required: false
        this._lid = new BoxSideList(this, "lid", false);
    }
    // marks - computed: true, optional: false, required: false
    get marks() {
        return cdktf.Fn.tolist(this.getListAttribute('marks'));
    }
    synthesizeHclAttributes() {
        const attrs = {
            name: {
                value: cdktf.stringToHclTerraform(this._name),
                isBlock: false,
                type: "simple",
                storageClassType: "string",
            },
            bottom: {
                value: boxSideToHclTerraform(this._bottom.internalValue),
                isBlock: true,
                type: "list",
                storageClassType: "BoxSideList",
            },
            side: {
                value: cdktf.listMapperHcl(boxSideToHclTerraform, true)(this._side.internalValue),
                isBlock: true,
                type: "set",
                storageClassType: "BoxSideList",
            },
            spare: {
                value: cdktf.listMapperHcl(boxSideToHclTerraform, false)(this._spare.internalValue),
                isBlock: true,
                type: "list",
                storageClassType: "BoxSideList",
            },
        };
    }
}
"""
DECLARATIONS: Final = """\
export interface BoxConfig extends cdktf.TerraformMetaArguments {
    readonly name: string;
    readonly bottom: BoxSide;
    readonly side?: BoxSide[] | cdktf.IResolvable;
    readonly spare?: BoxSide[] | cdktf.IResolvable;
}
export interface BoxSide {
    readonly colours?: string[];
    readonly lengthCm: number;
}
"""


def blocks_of(block: Block) -> Iterator[Block]:
    yield block
    for nested in block.get("block_types", {}).values():
        assert nested["nesting_mode"] in NESTINGS
        yield from blocks_of(nested["block"])


def is_type(kind: Any) -> bool:
    if isinstance(kind, str):
        return kind in SIMPLE
    head, inner = kind
    if head == "object":
        return all(is_type(one) for one in inner.values())
    return head in {"list", "set", "map"} and is_type(inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_schema_file_has_the_form_of_its_readme(path: Path, tmp_path: Path) -> None:
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert set(content) - {"force_new"} == {
        "provider", "version", "licence", "origin", "provider_schema", "resources", "data",
    }  # fmt: skip
    write_schema(tmp_path / path.name, content)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    tops = [content["provider_schema"], *content["resources"].values(), *content["data"].values()]
    for block in (block for top in tops for block in blocks_of(top)):
        assert set(block) <= {"attributes", "block_types", "deprecated"}
        for name, one in block.get("attributes", {}).items():
            assert is_type(one["type"]), name
            assert set(one) - {"type"} <= FLAGS, name
            assert {"required", "optional", "computed"} & set(one), name
            assert not (one.get("required") and (one.get("optional") or one.get("computed"))), name
            assert one.get("optional") or one.get("required") or not one.get("write_only"), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_forces_another_resource_is_an_argument_of_it(path: Path) -> None:
    schema = read_schema(path)
    for kind, names in schema.force_new.items():
        block = schema.resources[kind]
        assert set(names) <= {*block["attributes"], *block.get("block_types", {})}, kind


@pytest.mark.parametrize("cloud", sorted(PACKAGES))
def test_every_correction_of_a_published_schema_stands_in_its_file(cloud: str) -> None:
    added = yaml.safe_load(CORRECTIONS.read_text(encoding="utf-8"))[cloud]
    schema = read_schema(SCHEMAS / f"{cloud}.json.gz")
    blocks = {**schema.resources, **{f"data.{name}": one for name, one in schema.data.items()}}
    before = json.dumps(blocks)
    correct(blocks, added)
    assert json.dumps(blocks) == before
    for what in ("chosen", "sensitive", "write_only", "force_new"):
        assert set(added[what]) <= set(blocks), what


def test_bindings_say_names_kinds_and_what_is_required() -> None:
    side = {"attributes": {
        "area": {"type": "number", "computed": True},
        "colours": {"type": ["set", "string"], "optional": True},
        "length_cm": {"type": "number", "required": True},
    }}  # fmt: skip
    shape = ["object", {"area": "number", "colours": ["set", "string"], "length_cm": "number"}]
    assert Bindings.read(SCRIPT, DECLARATIONS).top("Box") == {
        "attributes": {
            "name": {"type": "string", "required": True},
            "lid": {"type": ["list", shape], "computed": True},
            "marks": {"type": ["set", "string"], "computed": True},
            "spare": {"type": ["list", shape], "optional": True},
        },
        "block_types": {
            "bottom": {"nesting_mode": "list", "min_items": 1, "max_items": 1, "block": side},
            "side": {"nesting_mode": "set", "block": side},
        },
    }


def test_a_correction_that_leads_nowhere_is_told() -> None:
    blocks: dict[str, Block] = {"box": {"attributes": {"id": {"type": "string", "optional": True}}}}
    nothing: dict[str, Any] = {"chosen": {}, "sensitive": {}, "write_only": {}}
    correct(blocks, nothing)
    assert blocks["box"]["attributes"]["id"] == {
        "type": "string", "optional": True, "computed": True,
    }  # fmt: skip
    with pytest.raises(KeyError):
        correct(blocks, {**nothing, "sensitive": {"box": ["side/colour"]}})
