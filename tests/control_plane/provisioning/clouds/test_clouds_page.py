"""The reference on clouds: its tables are those of the code, and its example is one. Not its prose."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

from control_plane.domain.isolation import CLOUDS
from control_plane.provisioning import state_settings
from control_plane.provisioning.accounts import (
    BackendKind,
    CloudAccount,
    Clouds,
    DedicatedAccount,
    FromCommand,
    FromEnvironment,
    FromFile,
    StateBackend,
    parse_clouds,
)
from control_plane.provisioning.clouds import aws, azure, faults, gcp, ibm, oci, pages, port, sdk
from control_plane.provisioning.clouds.choose import OPENS
from control_plane.provisioning.stacks import MODULES
from tests.support import reference
from tests.support.pages import Section, Table, code, codes, sections

_ROOT = Path(__file__).resolve().parents[4]
_YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_VARIABLE = re.compile(r'"((?:AWS|ARM|GOOGLE|OCI|IC|IBMCLOUD)_[A-Z_]+)"')
_ASKED = re.compile(r"for one in \[([^\]]*)\] : lookup\(var\.shared")
_FORMS = (FromEnvironment, FromFile, FromCommand)
HEADINGS: Mapping[str, tuple[str, ModuleType]] = {
    "aws": ("AWS", aws),
    "azure": ("Azure", azure),
    "gcp": ("Google Cloud", gcp),
    "oci": ("Oracle Cloud", oci),
    "ibm": ("IBM Cloud", ibm),
}


@pytest.fixture(scope="module")
def page() -> Mapping[str, Section]:
    return sections((_ROOT / "docs" / "reference" / "clouds.md").read_text())


def table_of(section: Section, column: str) -> Table:
    (found,) = [one for one in section.tables if one.columns[0] == column]
    return found


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("File", Clouds),
        ("Account", CloudAccount),
        ("Dedicated account", DedicatedAccount),
        ("State", StateBackend),
    ],
)
def test_every_field_of_the_accounts_file_is_told(
    page: Mapping[str, Section], heading: str, model: type[BaseModel]
) -> None:
    table = table_of(page[heading], "field")
    told = [(name, _normal(default)) for name, default in table.cells("field", "default")]
    assert told == [(name, _normal(default)) for name, default in _rows(model)]
    assert "" not in table.column("meaning")


def _rows(model: type[BaseModel]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if model is DedicatedAccount and name in CloudAccount.model_fields:
            continue
        if field.is_required():
            rows.append((f"`{name}`", "required"))
        elif isinstance(default, BaseModel):
            rows.append((f"`{name}`", f"`{default.model_dump_json()}`"))
        else:
            rows.append((f"`{name}`", f"`{json.dumps(default)}`"))
    return rows


def _normal(default: str) -> str:
    return default.replace(" ", "")


def test_every_field_of_each_form_of_credentials_is_told(page: Mapping[str, Section]) -> None:
    (table,) = page["Credentials"].tables
    told = table.cells("field", "default", "of")
    for model in _FORMS:
        (kind,) = get_args(model.model_fields["kind"].annotation)
        mine = [row[:2] for row in told if row[2] == "all" or kind in codes(row[2])]
        assert mine == reference.field_rows(model), kind
    fields = {name for model in _FORMS for name in model.model_fields}
    assert {code(one) for one in table.column("field")} == fields


def test_every_kind_of_backend_and_every_cloud_is_told(page: Mapping[str, Section]) -> None:
    state = table_of(page["State"], "field")
    assert codes(state.column("meaning")[0]) == get_args(BackendKind)
    (file,) = page["File"].tables
    assert codes(file.column("meaning")[1]) == tuple(one for one in CLOUDS if one != "local")


def test_every_setting_of_a_state_that_may_be_given_is_told(page: Mapping[str, Section]) -> None:
    table = next(one for one in page["State"].tables if one.columns == ("kind", "settings"))
    told = {
        kind: set(codes(names))
        for kinds, names in table.cells("kind", "settings")
        for kind in codes(kinds)
    }
    assert told == {kind: set(names) for kind, names in state_settings.PLAIN.items()}
    blocks = {name for names in state_settings.BLOCKS.values() for name in names}
    assert all(f"`{name}`" in page["State"].text for name in blocks)


def test_the_example_is_an_accounts_file(page: Mapping[str, Section]) -> None:
    (text,) = _YAML.findall(page["The accounts file"].text)
    clouds = parse_clouds(text, "clouds.yaml")
    assert set(clouds.accounts) == {"aws", "gcp"}
    assert [one.tenants for one in clouds.dedicated] == [("acme",)]


def test_every_check_is_told(page: Mapping[str, Section]) -> None:
    checks = table_of(page["What is looked at"], "when")
    assert [code(one) for one in checks.column("check")] == list(get_args(port.Looked))


def test_every_code_is_told_here_and_among_the_outcomes(page: Mapping[str, Section]) -> None:
    told = {code(one) for one in table_of(page["What is looked at"], "code").column("code")}
    source = Path(faults.__file__).read_text()
    assert told == set(re.findall(r'code="(\w+)"', source))
    outcomes = (_ROOT / "docs" / "reference" / "outcomes.md").read_text()
    assert [one for one in told if f"| `{one}` |" not in outcomes] == []


def test_the_bounds_that_are_told_are_those_of_the_code(page: Mapping[str, Section]) -> None:
    text, patience = page["What is looked at"].text, sdk.PATIENCE
    for said in (
        f"{patience.connect_s:g} s for a connection",
        f"{patience.read_s:g} s for an answer",
        f"{pages.ITEMS_MAX} entries, {pages.PAGES_MAX} pages and {pages.WHOLE_S_MAX:g} s",
    ):
        assert said in text


@pytest.mark.parametrize("cloud", list(OPENS))
def test_a_clouds_variables_addresses_and_extra_are_told(
    page: Mapping[str, Section], cloud: str
) -> None:
    heading, module = HEADINGS[cloud]
    section = page[heading]
    variables = table_of(section, "variable")
    source = Path(str(module.__file__)).read_text()
    assert [code(one) for one in variables.column("variable")] == list(
        dict.fromkeys(_VARIABLE.findall(source))
    )
    (line,) = re.findall(r"^`endpoints`: (.*)$", section.text, re.MULTILINE)
    assert codes(line) == tuple(module.SERVICES)
    assert f"pip install 'paybill[{cloud}]'" in section.text
    assert table_of(section, "right").rows


@pytest.mark.parametrize("cloud", list(OPENS))
def test_what_is_looked_at_of_shared_things_is_what_modules_ask_for(
    page: Mapping[str, Section], cloud: str
) -> None:
    heading, module = HEADINGS[cloud]
    table = table_of(page[heading], "looked at")
    (looked,) = [how for what, how in table.cells("looked at", "how") if what == "`shared`"]
    assert list(codes(looked)) == sorted(module.SHARED)
    files = list((MODULES / cloud).glob("*/variables.tf"))
    asked = {
        name.strip().strip('"')
        for path in files
        for names in _ASKED.findall(path.read_text())
        for name in names.split(",")
    }
    assert len(files) == 3
    assert set(module.SHARED) <= asked
