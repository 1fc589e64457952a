"""Policies about rows: what they name, what they may not say, and their generated schemas."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from policies.bundle import build_bundle, load_bundle
from policies.errors import BundleError
from policies.lint import lint
from policies.row_policies import is_row_policy, named_attributes
from tests.policies.row_engine import DENY, POLICIES, ROLES, one_rule, policy, rule, schema

PATH = "rows_notes.yaml"
SCHEMA_PATH = "_schemas/rows_notes.json"
SCHEMA = schema({"s": {"type": ["string", "null"]}, "n": {"type": "integer"}})
PRINCIPAL = json.loads((POLICIES / "_schemas" / "principal.json").read_text())
SHARED: dict[str, Any] = {
    "exportVariables": {"name": "shared", "definitions": {"mine": "R.attr.owner == P.id"}}
}
HOLDERS: dict[str, Any] = {
    "derivedRoles": {
        "name": "holders",
        "variables": {"import": ["shared"]},
        "definitions": [
            {
                "name": "holder",
                "parentRoles": ["viewer"],
                "condition": {"match": {"expr": 'V.mine && R.attr.state != "gone"'}},
            }
        ],
    }
}


def notes(text: str = 'R.attr.s == "a"', **body: Any) -> dict[str, Any]:
    made = policy("rows_notes", one_rule(text))
    made["resourcePolicy"].update(body)
    return made


def findings(document: dict[str, Any], more: Mapping[str, Any] | None = None) -> list[str]:
    base = {"row_roles.yaml": ROLES, SCHEMA_PATH: SCHEMA, "_schemas/principal.json": PRINCIPAL}
    return lint({PATH: document, **base, **(more or {})})


# What they name ----------------------------------------------------------------------------------


def test_the_attributes_of_each_row_policy_are_named_with_its_imports() -> None:
    document = notes(
        'R.attr.s == "a" && request.resource.attr.n == 1 && P.attr.actor == "x"',
        importDerivedRoles=["holders"],
        variables={"local": {"late": "R.attr.due < R.attr.due"}},
    )
    documents: dict[str, Any] = {
        PATH: document,
        "more.yaml": policy("rows_things", one_rule("V.mine"))
        | {"resourcePolicy": {"resource": "rows_things", "variables": {"import": ["shared"]}}},
        "other.yaml": policy("thing", one_rule("R.attr.secret")),
        "shared.yaml": SHARED,
        "holders.yaml": HOLDERS,
        SCHEMA_PATH: SCHEMA,
    }
    assert named_attributes(documents) == {
        "rows_notes": frozenset({"s", "n", "due", "owner", "state"}),
        "rows_things": frozenset({"owner"}),
    }


def test_a_policy_that_names_nothing_is_there_with_nothing() -> None:
    assert named_attributes({PATH: notes("true")}) == {"rows_notes": frozenset()}
    assert named_attributes({}) == {}


def test_folders_are_read_together_and_an_empty_one_names_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert named_attributes(first) == {}
    variables = {"import": ["shared"]}
    (first / PATH).write_text(json.dumps(notes("V.mine", variables=variables)))
    (second / "shared.yaml").write_text(json.dumps(SHARED))
    assert named_attributes(first) == {"rows_notes": frozenset()}
    assert named_attributes([first, second]) == {"rows_notes": frozenset({"owner"})}
    (first / "odd.yaml").write_text("a: [")
    with pytest.raises(BundleError, match=r"odd\.yaml"):
        named_attributes(first)


def test_only_the_prefix_makes_a_row_policy() -> None:
    assert is_row_policy({"resource": "rows_notes"})
    assert not any(is_row_policy({"resource": kind}) for kind in ("notes", "my_rows_x", None, 1))


# What they may not say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'R.attr.s == "a" && (R.attr.n < 3 || !(R.attr.n in [1, -2, 3]))',
        '"now() ? R.id[0] + has(it)" == R.attr.s',
        "R.attr.s == 'it''s' || R.attr.s == P.attr.actor",
        'P.attr.actor_kind in ["human", "agent"] && request.resource.attr.s != null',
        'R.attr.s in ["a"] && (P.id == "ann")',
    ],
)
def test_a_sound_condition_has_no_finding(text: str) -> None:
    assert findings(notes(text)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("R.attr.n < now()", "must not call now(): a plan and the check"),
        ("R.attr.n < now ( )", "must not call now()"),
        ('R.attr.s.startsWith("a")', "must not call startsWith()"),
        ("size(R.attr.s) == 1", "must not call size()"),
        ("has ( (R.attr).s )", "must not call has()"),
        ("P.attr.actor.matches('a')", "must not call matches()"),
        ("R.attr.n + 1 < 2", "must not use +"),
        ("R.attr.n * 1 < 2", "must not use *"),
        ("R.attr.n / 1 < 2", "must not use /"),
        ("R.attr.n % 2 == 1", "must not use %"),
        ("R.attr.n == 1 ? true : false", "must not use the conditional ?"),
        ("R.attr.s[0] == 'a'", "must use no index"),
        ("[1, 2][0] == R.attr.n", "must use no index"),
        ("R.attr.s.inner == 'a'", "must use no part of an attribute"),
        ("R.id == 'a'", "nothing of a row but its attributes"),
        ("request.resource.kind == 'a'", "nothing of a row but its attributes"),
        ("R == 1", "nothing of a row but its attributes"),
        ("R.attr.s == b'abc'", "plain literals"),
        ('R.attr.s == r"abc"', "plain literals"),
    ],
)
def test_what_no_filter_can_say_is_found_where_it_is_visible(text: str, said: str) -> None:
    forms: list[dict[str, Any]] = [
        notes(text),
        notes("V.x", variables={"local": {"x": text}}),
        notes("true"),
    ]
    forms[2]["resourcePolicy"]["rules"][0]["condition"] = {
        "match": {"any": {"of": [{"expr": "true"}, {"none": {"of": [{"expr": text}]}}]}}
    }
    for form in forms:
        assert any(said in finding for finding in findings(form)), findings(form)


def test_what_is_imported_is_held_to_the_same() -> None:
    shared = {"exportVariables": {"name": "shared", "definitions": {"late": "now() == now()"}}}
    document = notes("V.late", variables={"import": ["shared"]})
    (found,) = findings(document, {"shared.yaml": shared})
    assert found.startswith(f"{PATH}: must not call now()")
    roles = copy.deepcopy(ROLES)
    expr = {"expr": 'P.id.startsWith("a")'}
    roles["derivedRoles"]["definitions"][0]["condition"]["match"] = expr
    (found,) = findings(notes(), {"row_roles.yaml": roles})
    assert found.startswith(f"{PATH}: must not call startsWith()")


def test_another_kind_may_say_all_of_it() -> None:
    other = policy("notes", one_rule("R.attr.n < size(R.attr.s)"))
    assert findings(notes(), {"notes.yaml": other, "_schemas/notes.json": SCHEMA}) == []


@pytest.mark.parametrize(
    ("actions", "sound"),
    [
        (["read", "create", "update", "delete", "read_pii", "read_a1"], True),
        (["query"], False),
        (["*"], False),
        (["read_"], False),
        (["read_*"], False),
        (["read_PII"], False),
        (["read", 1], False),
    ],
)
def test_actions_are_of_a_closed_set(actions: list[Any], sound: bool) -> None:
    document = notes()
    document["resourcePolicy"]["rules"][0]["actions"] = actions
    assert findings(document) == (
        []
        if sound
        else [
            f"{PATH}: rule r0: actions must be of create, delete, read, update and read_<group>",
        ]
    )


def test_a_rule_about_rows_puts_out_nothing() -> None:
    document = notes()
    denial = rule(DENY, ["*"], ["read"], None) | {"name": "no"}
    denial["output"] = {"when": {"ruleActivated": '{"refusal": {"code": "x", "fact": "s"}}'}}
    document["resourcePolicy"]["rules"].append(denial)
    assert findings(document) == [
        f"{PATH}: rule no: must put out nothing: a rule about rows only allows or denies"
    ]


def test_a_row_policy_has_the_schema_of_its_own_name() -> None:
    document = notes()
    document["resourcePolicy"]["schemas"]["resourceSchema"]["ref"] = "cerbos:///other.json"
    assert findings(document, {"_schemas/other.json": SCHEMA}) == [
        f"{PATH}: must use the resource schema of its own name, which is generated"
    ]


# Generated schemas -------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / PATH).write_text(json.dumps(notes(importDerivedRoles=[])))
    return folder


def test_a_generated_document_is_linted_stamped_and_digested_like_a_file(
    source: Path, tmp_path: Path
) -> None:
    into = tmp_path / "b"
    with pytest.raises(BundleError, match="must name a resource schema"):
        build_bundle([POLICIES, source], into)
    made = build_bundle([POLICIES, source], into, {SCHEMA_PATH: SCHEMA})
    assert json.loads((made.directory / SCHEMA_PATH).read_text()) == SCHEMA
    assert load_bundle(into, made.digest) == made
    other = build_bundle([POLICIES, source], into, {SCHEMA_PATH: schema({"s": {}})})
    assert other.digest != made.digest
    (source / "_schemas").mkdir()
    (source / SCHEMA_PATH).write_text(json.dumps(SCHEMA))
    assert build_bundle([POLICIES, source], into) == made
    with pytest.raises(BundleError, match="is generated and must be no file"):
        build_bundle([POLICIES, source], into, {SCHEMA_PATH: SCHEMA})


def test_a_generated_policy_is_stamped_and_the_given_one_is_left_as_it_is(tmp_path: Path) -> None:
    given = {PATH: notes(importDerivedRoles=[]), SCHEMA_PATH: SCHEMA}
    before = copy.deepcopy(given)
    made = build_bundle([POLICIES], tmp_path, given)
    stamped = json.loads((made.directory / PATH).read_text())
    assert stamped["resourcePolicy"]["version"] == made.version
    assert given == before


def test_a_generated_document_that_breaks_a_rule_is_found(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="attribute s is not in its schema"):
        build_bundle([POLICIES, source], tmp_path / "b", {SCHEMA_PATH: schema({"n": {}})})
    open_schema = SCHEMA | {"additionalProperties": True}
    with pytest.raises(BundleError, match="additionalProperties false"):
        build_bundle([POLICIES, source], tmp_path / "b", {SCHEMA_PATH: open_schema})


@pytest.mark.parametrize(
    "path",
    ["../x.json", "/x.yaml", "_schemas/../x.json", "a/b.yaml", "_schemas/x.yaml", "x.json", ""],
)
def test_a_generated_document_lies_nowhere_else(source: Path, tmp_path: Path, path: str) -> None:
    with pytest.raises(BundleError, match="must have the path"):
        build_bundle([POLICIES, source], tmp_path / "b", {path: SCHEMA})


def test_a_generated_document_is_plain(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not plain"):
        build_bundle([POLICIES, source], tmp_path / "b", {SCHEMA_PATH: {"type": {1, 2}}})
