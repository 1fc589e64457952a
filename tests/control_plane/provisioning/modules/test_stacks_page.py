"""The page about stacks and the shipped modules say the same, both ways. Not its prose."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, get_args

import pytest

from control_plane.domain.isolation import CLOUDS, ISOLATIONS, Cloud
from control_plane.provisioning.accounts import BackendKind
from control_plane.provisioning.scan import BUILTIN
from tests.support.pages import Section, Table, code, codes, sections
from tests.support.simulated.schema import read_schema, schema_path
from tests.support.stack_blocks import Block, Shipped, blocks

ROOT: Final = Path(__file__).parents[4]
HEADINGS: Final[Mapping[Cloud, str]] = {
    "local": "Local",
    "aws": "AWS",
    "azure": "Azure",
    "gcp": "Google Cloud",
    "oci": "Oracle Cloud",
    "ibm": "IBM Cloud",
}
PASSWORD: Final = "database_password"
_ASKED: Final = re.compile(r'for one in \[([^]]*)\] : lookup\(var\.shared, one, ""\)')


@pytest.fixture(scope="module")
def page() -> Mapping[str, Section]:
    return sections((ROOT / "docs/reference/stacks.md").read_text(encoding="utf-8"))


def only(section: Section, first_column: str) -> Table:
    """The section's one table that begins with this column."""
    (table,) = (one for one in section.tables if one.columns[0] == first_column)
    return table


def of_cloud(cloud: Cloud) -> list[Shipped]:
    return [Shipped(cloud, isolation) for isolation in ISOLATIONS]


def named(one: Shipped, kind: str, *files: str) -> list[Block]:
    return [block for block in blocks(one.folder, *files) if block.words[0] == kind]


def types_of(one: Shipped) -> set[str]:
    return {block.words[1] for block in named(one, "resource")}


def asked_by(one: Shipped) -> set[str]:
    """What the module's rule for `shared` names."""
    text = (one.folder / "variables.tf").read_text(encoding="utf-8")
    return {name for rule in _ASKED.findall(text) for name in re.findall(r'"(\w+)"', rule)}


def taking_the_password(one: Shipped) -> Iterator[str]:
    """Each argument that the password goes into, behind its resource's type."""
    for resource in named(one, "resource"):
        for block in resource.everything():
            for name, words in block.arguments.items():
                if f"var.{PASSWORD}" in "".join(words):
                    yield f"{resource.words[1]}.{name}"


def test_every_cloud_has_its_section_and_no_other_does(page: Mapping[str, Section]) -> None:
    headings = list(page)
    start, end = headings.index("Modules"), headings.index("Passwords")
    assert headings[start + 1 : end] == list(HEADINGS.values())
    assert list(HEADINGS) == list(CLOUDS)


def test_the_isolation_models_are_told(page: Mapping[str, Section]) -> None:
    table = only(page["Isolation models"], "model")
    assert [code(one) for one in table.column("model")] == list(ISOLATIONS)


def test_the_variables_are_those_of_the_modules(page: Mapping[str, Section]) -> None:
    table = only(page["Variables"], "variable")
    told = {code(name): kind for name, kind in table.cells("variable", "type")}
    declared = {
        block.words[1]: "".join(block.arguments["type"])
        for cloud in CLOUDS
        for one in of_cloud(cloud)
        for block in named(one, "variable", "variables.tf")
    }
    assert list(told.items()) == list(declared.items())


@pytest.mark.parametrize("cloud", [one for one in CLOUDS if one != "local"])
def test_the_outputs_are_those_of_the_modules(page: Mapping[str, Section], cloud: Cloud) -> None:
    table = only(page["Outputs"], "output")
    told = [code(one) for one in table.column("output")]
    meanings = dict(zip(told, table.column("what it is"), strict=True))
    for one in of_cloud(cloud):
        outputs = {block.words[1]: block for block in named(one, "output", "outputs.tf")}
        assert list(outputs) == told
        for name in ("database", "storage"):
            words = outputs[name].arguments["value"]
            fields = [word for word, after in itertools.pairwise(words) if after == "="]
            assert tuple(fields) == codes(meanings[name].split(":")[0])


def test_the_outputs_of_the_embedded_modules_are_told(page: Mapping[str, Section]) -> None:
    (line,) = re.findall(r"^On `local` .*$", page["Outputs"].text, re.MULTILINE)
    found = {b.words[1] for one in of_cloud("local") for b in named(one, "output", "outputs.tf")}
    assert set(codes(line)) - {"local"} == found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_resource_types_of_a_part_are_those_of_the_modules(
    page: Mapping[str, Section], cloud: Cloud
) -> None:
    table = only(page[HEADINGS[cloud]], "part")
    for one in of_cloud(cloud):
        told = [name for cell in table.column(one.isolation) for name in codes(cell)]
        assert len(told) == len(set(told))
        assert set(told) == types_of(one), one.isolation


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_shared_things_are_those_that_the_modules_ask_for(
    page: Mapping[str, Section], cloud: Cloud
) -> None:
    told: dict[str, set[str]] = {one.isolation: set() for one in of_cloud(cloud)}
    if cloud != "local":
        table = only(page[HEADINGS[cloud]], "shared thing")
        assert "" not in table.column("what it is")
        for name, models in table.cells("shared thing", "asked for by"):
            for model in codes(models):
                told[model].add(code(name))
    assert told == {one.isolation: asked_by(one) for one in of_cloud(cloud)}


def test_what_takes_the_password_is_told(page: Mapping[str, Section]) -> None:
    table = only(page["Passwords"], "cloud")
    told = {code(cloud): set(codes(taken)) for cloud, taken, _ in table.rows}
    found: dict[str, set[str]] = {
        cloud: {path for one in of_cloud(cloud) for path in taking_the_password(one)}
        for cloud in CLOUDS
        if cloud != "local"
    }
    assert told == found


def test_the_kinds_of_state_are_those_of_the_setting(page: Mapping[str, Section]) -> None:
    table = only(page["State"], "kind")
    assert [code(one) for one in table.column("kind")] == list(get_args(BackendKind))


def test_no_more_is_said_to_be_proven_than_there_are_tests_for(
    page: Mapping[str, Section],
) -> None:
    table = only(page["What is proven"], "cloud")
    assert [code(one) for one in table.column("cloud")] == list(CLOUDS)
    for cloud, provider, version, proof in table.rows:
        name = code(cloud)
        if name == "local":
            assert (code(provider), version, proof) == (BUILTIN, "none", "applied")
            continue
        schema = read_schema(schema_path(name))
        assert (code(provider), version) == (schema.provider.lower(), schema.version)
        emulated = (ROOT / f"tests/control_plane/provisioning/test_{name}_emulated.py").is_file()
        assert proof == "contract-checked" + ", emulator-applied" * emulated


def test_an_argument_that_takes_the_password_is_found() -> None:
    taken = {path for one in of_cloud("aws") for path in taking_the_password(one)}
    assert "aws_db_instance.password_wo" in taken
    assert asked_by(Shipped("ibm", "silo")) == {"secrets_manager_id"}
