"""The reference: every tool, setting, command, rule, code and table is in it, and nothing else. Not its prose."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from control_plane.audit.report import FindingCode
from control_plane.data.collection import (
    SAMPLES,
    Collection,
    CollectionLimits,
    FieldGroup,
    load_collection,
)
from control_plane.data.field import Field, Formula, Kind
from control_plane.domain.caller import ROLES
from control_plane.domain.charge import Charge
from control_plane.domain.coupon import Coupon
from control_plane.domain.coupon_catalog import parse_coupons
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.entitlement import (
    BooleanEntitlement,
    MeteredEntitlement,
    StaticEntitlement,
)
from control_plane.domain.outcome import Outcome, OutcomeName
from control_plane.domain.plans import AddOn, BackupTerms, PlanOffer, Quotas, Trial, parse_plans
from control_plane.domain.prices import Flat, Package, PerSeat, Tier, Tiered, Volume
from control_plane.errors import BadInput
from control_plane.facts.row import row_schemas
from policies.bundle import build_bundle
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from policies.request import Principal, Resource
from policies.row_policies import ROW_ACTIONS, named_attributes
from server.settings import Limits, read_settings
from server.workspace import CatalogSection, WorkspaceSection
from tests.support import reference
from tests.support.pages import Section, code, codes, sections
from tools.collection_tools import collection_tools
from tools.form import CollectionForm
from tools.parsing import parse_arguments
from tools.registry import TOOLS
from tools.spec import ToolSpec

_LINK = re.compile(r"\]\(([^)]+)\)")
_YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
PRICES = (Flat, PerSeat, Package, Tiered, Volume)
ENTITLEMENTS = (BooleanEntitlement, StaticEntitlement, MeteredEntitlement)
OWN_TOOLS = "Tools of a collection's own"
OWN_ROWS = "Rows with a policy of their own"

Pages = Mapping[str, Mapping[str, Section]]


@pytest.fixture(scope="session")
def folder(root: Path) -> Path:
    return root / "docs" / "reference"


@pytest.fixture(scope="session")
def pages(folder: Path) -> Pages:
    return {path.stem: sections(path.read_text()) for path in sorted(folder.glob("*.md"))}


@pytest.fixture(scope="module")
def gate(
    root: Path, cerbos_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    """The shipped policies in a real engine."""
    bundle = build_bundle([root / "policies" / "cerbos"], tmp_path_factory.mktemp("bundles"))
    engine = Pdp(cerbos_binary, bundle, new_runtime_dir())
    try:
        engine.start()
        engine.wait_ready(15)
        opened = Gate(engine.socket, bundle.version, deadline_s=5.0)
        yield opened
        opened.close()
    finally:
        engine.stop()
        shutil.rmtree(engine.runtime_dir)


# the set of pages ------------------------------------------------------------------------------


def test_there_is_a_page_for_each_part_and_no_other(pages: Pages) -> None:
    parts = "backups catalog clouds commands direct-connections failpoints integration invoices licences migrations moves outcomes payments plan-facts policies settings simulate stacks state subscriptions tools usage webhooks"
    assert list(pages) == parts.split()


def test_every_link_leads_to_a_page_and_heading_that_stand(folder: Path, pages: Pages) -> None:
    dead: list[tuple[str, str]] = []
    for name, page in pages.items():
        for section in page.values():
            for link in _LINK.findall(section.text):
                path, _, anchor = link.partition("#")
                target = (folder / (path or f"{name}.md")).resolve()
                picture = target.suffix in {".png", ".svg", ".html", ".pdf"} and target.is_file()
                if link.startswith("https://") or picture:
                    continue
                known = sections(target.read_text()) if target.is_file() else {}
                if not known or (anchor and anchor not in {_anchor(one) for one in known}):
                    dead.append((name, link))
    assert dead == []


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


# tools -----------------------------------------------------------------------------------------


def test_every_tool_has_its_section_and_no_other_does(pages: Pages) -> None:
    prose = {"", "Tools", "Roles", "What holds for every tool", "Filters", OWN_TOOLS, OWN_ROWS}
    assert [name for name in pages["tools"] if name not in prose] == list(TOOLS)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_tools_arguments_results_and_outcomes_are_those_of_its_schema(
    pages: Pages, tool: ToolSpec
) -> None:
    section = pages["tools"][tool.name]
    found = {table.columns[0]: table for table in section.tables}
    arguments = reference.argument_rows(tool)
    if arguments:
        columns = ("argument", "type", "default", "limit")
        assert found["argument"].cells(*columns) == arguments
    else:
        assert "No arguments." in section.text
    assert found["result"].cells("result", "type") == reference.result_rows(tool)
    (outcomes,) = re.findall(r"^Outcomes: (.*)$", section.text, re.MULTILINE)
    assert list(codes(outcomes)) == tool.output_schema()["properties"]["outcome"]["enum"]
    kind = f"Risk `{tool.risk}`, domain `{tool.domain}`, machine `{tool.machine}`."
    assert kind in section.text
    told = re.findall(r"`next_tools` names those of (.*) that you may list", section.text)
    assert [codes(names) for names in told] == [tool.next_tools] * bool(tool.next_tools)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_tools_example_is_a_call_and_an_answer_of_its_schemas(
    pages: Pages, tool: ToolSpec
) -> None:
    call, answer = pages["tools"][tool.name].examples
    parse_arguments(tool, call)
    jsonschema.validate(answer, tool.output_schema())
    Outcome.model_validate(answer)
    if answer["outcome"] == "done":
        tool.result.model_validate(answer["result"])


def test_an_example_that_is_not_of_the_schema_is_found() -> None:
    with pytest.raises(BadInput):
        parse_arguments(TOOLS["tenant_get"], {"tenant": "acme", "confirm": True})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            {"outcome": "done", "result": {"tenant": "acme"}}, TOOLS["tenant_get"].output_schema()
        )


def test_the_table_of_roles_is_what_the_policy_engine_says(pages: Pages, gate: Gate) -> None:
    (table,) = pages["tools"]["Roles"].tables
    assert [code(one) for one in table.columns[1:]] == list(ROLES)
    assert [code(one) for one in table.column("tool")] == list(TOOLS)
    resources = [
        Resource("mcp_tool", tool.name, _attributes(tool), ("list", "call"))
        for tool in TOOLS.values()
    ]
    for role, column in zip(ROLES, table.columns[1:], strict=True):
        principal = Principal("ann", (role,), {"actor_kind": "human", "actor": "ann"})
        for action in ("list", "call"):
            said = [one.allows(action) for one in gate.check(principal, resources)]
            assert [{"yes": True, "no": False}[cell] for cell in table.column(column)] == said, role


def _attributes(tool: ToolSpec) -> dict[str, Any]:
    return {"risk": tool.risk, "domain": tool.domain}


def test_the_forms_of_a_collections_tools_are_those_of_the_setting(pages: Pages) -> None:
    (table,) = pages["tools"][OWN_TOOLS].tables
    assert {code(one) for one in table.column("form")} == set(get_args(CollectionForm))
    contacts = load_collection(SAMPLES / "contacts.yaml")
    named = set(codes(pages["tools"][OWN_TOOLS].text))
    assert {tool.name for tool in collection_tools(contacts)} <= named


def test_the_example_of_a_policy_of_rows_makes_a_bundle(
    pages: Pages, root: Path, tmp_path: Path
) -> None:
    (table,) = pages["tools"][OWN_ROWS].tables
    assert {code(one) for one in table.column("action")} == {*ROW_ACTIONS, "read_<group>"}
    (text,) = _YAML.findall(pages["tools"][OWN_ROWS].text)
    own = tmp_path / "policies"
    own.mkdir()
    (own / "rows_contacts.yaml").write_text(text)
    contacts = load_collection(SAMPLES / "contacts.yaml")
    named = named_attributes(own)
    assert named == {"rows_contacts": frozenset({"status", "balance"})}
    generated = row_schemas({"contacts": contacts}, {"contacts": named["rows_contacts"]})
    build_bundle([root / "policies" / "cerbos", own], tmp_path / "bundles", generated)


# outcomes --------------------------------------------------------------------------------------


def test_outcomes_and_their_fields_are_those_of_the_union(pages: Pages) -> None:
    (outcomes,) = pages["outcomes"]["Outcomes"].tables
    assert [code(one) for one in outcomes.column("outcome")] == list(get_args(OutcomeName))
    (fields,) = pages["outcomes"]["Fields"].tables
    told = [code(one) for one in fields.column("field")]
    assert told == [name for name in Outcome.model_fields if name != "replayed"]


def test_every_code_that_the_product_gives_is_told_once_with_cause_and_cure(
    pages: Pages, root: Path
) -> None:
    found = [
        row
        for section in pages["outcomes"].values()
        for table in section.tables
        if table.columns == ("code", "cause", "what to do")
        for row in table.rows
    ]
    told = [code(row[0]) for row in found]
    assert len(told) == len(set(told))
    assert {"missing": reference.error_codes(root) - set(told)} == {"missing": set()}
    assert {"gone": set(told) - reference.error_codes(root)} == {"gone": set()}
    assert [row for row in found if not (row[1] and row[2])] == []


def test_the_codes_of_policy_are_those_of_the_policies(pages: Pages, root: Path) -> None:
    (table,) = pages["outcomes"]["Codes of policy"].tables
    given = {
        rule[4].strip("`") for rules in reference.policy_rules(root).values() for rule in rules
    }
    assert {code(one) for one in table.column("code")} == given - {""} | {"denied"}


def test_every_finding_of_a_verification_is_told(pages: Pages) -> None:
    (table,) = pages["outcomes"]["Findings of audit verify"].tables
    assert [code(one) for one in table.column("finding")] == [one.value for one in FindingCode]


def test_a_planted_code_is_found(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "planted.py").write_text(
        "class Odd(Refused):\n    code = 'odd'\n\nraise Refused('no', code='even' if x else 'prime')\n"
    )
    assert {"odd", "even", "prime"} <= reference.error_codes(tmp_path)


# settings --------------------------------------------------------------------------------------


def test_every_variable_and_limit_is_told_with_default_and_bound(pages: Pages) -> None:
    (variables,) = pages["settings"]["Variables"].tables
    assert variables.cells("variable", "meaning") == reference.setting_rows()
    limits, others = pages["settings"]["Limits"].tables
    columns = ("variable", "default", "bound", "meaning")
    assert limits.cells(*columns) == reference.limit_rows()
    assert others.columns == ("what", "bound")


def test_what_happens_at_each_limit_is_told(pages: Pages) -> None:
    text = pages["settings"]["Limits"].text
    assert [name for name in Limits.model_fields if f"`{name.upper()}`" not in text] == []


def test_a_misspelt_limit_is_refused_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBILL_ODD", "1")
    read_settings()
    monkeypatch.setenv("PAYBILL_LIMITS__ODD", "1")
    with pytest.raises(BadInput, match="PAYBILL_LIMITS__ODD"):
        read_settings()


def test_every_key_of_the_workspaces_file_is_told(pages: Pages) -> None:
    (table,) = pages["settings"]["paybill.toml"].tables
    known: dict[str, type[BaseModel]] = {
        "workspace": WorkspaceSection,
        "catalog": CatalogSection,
    }
    rows = [
        (f"`{section}.{field.strip('`')}`", default)
        for section, model in known.items()
        for field, default in reference.field_rows(model)
    ]
    assert table.cells("key", "default") == rows


# commands --------------------------------------------------------------------------------------


def test_every_command_has_its_section_and_no_other_does(pages: Pages) -> None:
    told = [name for name in pages["commands"] if name.startswith("paybill")]
    assert sorted(told) == sorted(reference.commands())


@pytest.mark.slice_of(4)
@pytest.mark.parametrize("words", reference.commands())
def test_a_commands_options_and_defaults_are_those_of_the_program(pages: Pages, words: str) -> None:
    section = pages["commands"][words]
    rows = reference.commands()[words]
    if not rows:
        assert "No options." in section.text
        return
    (table,) = section.tables
    assert table.cells("option", "default") == rows
    assert "" not in table.column("meaning")


# policies --------------------------------------------------------------------------------------


def test_every_kind_of_resource_has_its_section(pages: Pages, root: Path) -> None:
    kinds = reference.policy_rules(root)
    assert [name for name in pages["policies"] if name in kinds] == list(kinds)
    ruled = [
        name
        for name, section in pages["policies"].items()
        if any(table.columns[0] == "rule" for table in section.tables)
    ]
    assert ruled == list(kinds)


def test_the_rules_and_attributes_of_each_kind_are_told(pages: Pages, root: Path) -> None:
    for kind, known in reference.policy_rules(root).items():
        rules, attributes = pages["policies"][kind].tables
        columns = ("rule", "effect", "actions", "roles", "code")
        assert rules.cells(*columns) == known, kind
        assert "" not in rules.column("meaning")
        told = [code(one) for one in attributes.column("attribute")]
        assert told == reference.attributes(root, kind), kind


def test_the_roles_and_the_principals_attributes_are_told(pages: Pages, root: Path) -> None:
    (roles,) = pages["policies"]["Roles"].tables
    assert [code(one) for one in roles.column("role")] == list(ROLES)
    (principal,) = pages["policies"]["Principal"].tables
    told = [code(one) for one in principal.column("attribute")]
    assert told == reference.attributes(root, "principal")


def test_the_example_of_a_workspaces_policy_makes_a_bundle(
    pages: Pages, root: Path, tmp_path: Path
) -> None:
    (text,) = _YAML.findall(pages["policies"]["Policies of a workspace"].text)
    extra = tmp_path / "policies"
    extra.mkdir()
    (extra / "contract.yaml").write_text(text)
    bundle = build_bundle([root / "policies" / "cerbos", extra], tmp_path / "bundles")
    stamped = yaml.safe_load((bundle.directory / "contract.yaml").read_text())
    assert stamped["resourcePolicy"]["version"] == bundle.version


# catalog ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Plans", PlanOffer),
        ("Quotas", Quotas),
        ("Backups", BackupTerms),
        ("Charges", Charge),
        ("Tiers", Tier),
        ("Add-ons", AddOn),
        ("Trial", Trial),
        ("Dunning", DunningPolicy),
        ("Coupons", Coupon),
        ("Collections", Collection),
        ("Fields", Field),
        ("Formulas", Formula),
        ("Groups", FieldGroup),
        ("Limits of a collection", CollectionLimits),
    ],
)
def test_every_field_of_a_declaration_is_told(
    pages: Pages, heading: str, model: type[BaseModel]
) -> None:
    (table,) = pages["catalog"][heading].tables
    assert table.cells("field", "default") == reference.field_rows(model)
    assert "" not in table.column("meaning")


@pytest.mark.parametrize(
    ("heading", "models"),
    [
        ("Prices", {one: one.model_fields["model"] for one in PRICES}),
        ("Entitlements", {one: one.model_fields["kind"] for one in ENTITLEMENTS}),
    ],
)
def test_every_field_of_each_of_several_kinds_is_told(
    pages: Pages, heading: str, models: Mapping[type[BaseModel], FieldInfo]
) -> None:
    (table,) = pages["catalog"][heading].tables
    told = table.cells("field", "default", "of")
    for model, tag in models.items():
        (kind,) = get_args(tag.annotation)
        mine = [row[:2] for row in told if row[2] == "all" or kind in codes(row[2])]
        assert mine == reference.field_rows(model)
    assert {tuple(row[:2]) for row in told} == {
        row for model in models for row in reference.field_rows(model)
    }
    assert "" not in table.column("meaning")


def test_every_kind_of_field_is_told(pages: Pages) -> None:
    (table,) = pages["catalog"]["Kinds"].tables
    assert [code(one) for one in table.column("kind")] == list(get_args(Kind))


def test_the_examples_of_a_catalog_can_be_read(pages: Pages, tmp_path: Path) -> None:
    (plans,) = _YAML.findall(pages["catalog"]["Plans"].text)
    assert parse_plans(plans, "plans.yaml").offer("free").charges == ()
    (coupons,) = _YAML.findall(pages["catalog"]["Coupons"].text)
    assert [one.code for one in parse_coupons(coupons, "coupons.yaml").coupons] == ["WELCOME20"]
    (contacts,) = _YAML.findall(pages["catalog"]["Collections"].text)
    (tmp_path / "contacts.yaml").write_text(contacts)
    assert load_collection(tmp_path / "contacts.yaml").fields["email"].group == "pii"
