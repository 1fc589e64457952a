"""Every rule of the lint has a policy that breaks it, and the house's own policies break none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.lint import lint

POLICIES = Path(__file__).parents[2] / "policies" / "cerbos"

Change = Callable[[dict[str, Any]], object]

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["exists"],
    "properties": {"exists": {"type": "boolean"}},
}
ALLOW: dict[str, Any] = {
    "name": "read",
    "actions": ["read"],
    "effect": "EFFECT_ALLOW",
    "roles": ["viewer"],
    "condition": {"match": {"expr": "R.attr.exists && P.attr.exists"}},
}
DENY: dict[str, Any] = {
    "name": "guard",
    "actions": ["read"],
    "effect": "EFFECT_DENY",
    "roles": ["*"],
    "condition": {"match": {"expr": "!R.attr.exists"}},
    "output": {"when": {"ruleActivated": '{"refusal": {"code": "x", "fact": "exists"}}'}},
}
SOUND: dict[str, Any] = {
    "apiVersion": "api.cerbos.dev/v1",
    "resourcePolicy": {
        "resource": "thing",
        "version": "default",
        "schemas": {
            "principalSchema": {"ref": "cerbos:///thing.json"},
            "resourceSchema": {"ref": "cerbos:///thing.json"},
        },
        "rules": [ALLOW, DENY],
    },
}


def findings(change: Change = lambda _: None, more: Mapping[str, Any] | None = None) -> list[str]:
    policy = copy.deepcopy(SOUND)
    change(policy)
    return lint({"thing.yaml": policy, "_schemas/thing.json": SCHEMA, **(more or {})})


def body(**fields: object) -> Change:
    return lambda policy: policy["resourcePolicy"].update(fields)


def rule(number: int, **fields: object) -> Change:
    return lambda policy: policy["resourcePolicy"]["rules"][number].update(fields)


def expr(text: str) -> Change:
    return rule(0, condition={"match": {"expr": text}})


def swap(name: str) -> Change:
    def change(policy: dict[str, Any]) -> None:
        policy[name] = policy.pop("resourcePolicy")

    return change


def test_a_sound_policy_has_no_finding() -> None:
    assert findings() == []


def test_the_house_policies_have_no_finding() -> None:
    documents = {path.name: yaml.safe_load(path.read_text()) for path in POLICIES.glob("*.yaml")}
    for path in (POLICIES / "_schemas").glob("*.json"):
        documents[f"_schemas/{path.name}"] = json.loads(path.read_text())
    assert len(documents) > 10
    assert lint(documents) == []


BROKEN: list[tuple[Change, str]] = [
    (swap("principalPolicy"), "exactly one of"),
    (swap("rolePolicy"), "exactly one of"),
    (lambda policy: policy.clear(), "exactly one of"),
    (body(resource="a:b"), "kind must match"),
    (body(version="d1"), "version must be 'default'"),
    (lambda policy: policy["resourcePolicy"].pop("version"), "version must be"),
    (body(scope="acme"), "no scope"),
    (body(schemas={}), "must name a resource schema"),
    (
        body(schemas={"resourceSchema": {"ref": "cerbos:///ghost.json"}}),
        "must name a resource schema",
    ),
    (rule(1, roles=["agent"]), 'a DENY must have roles ["*"]'),
    (rule(1, derivedRoles=["owner"]), 'a DENY must have roles ["*"]'),
    (rule(1, output={"when": {"conditionNotMet": "1"}}), "speaks only when it is activated"),
    (rule(0, roles=["*"]), "must name its roles"),
    (rule(0, roles=["nobody"]), "must name its roles"),
    (rule(0, output={"when": {"ruleActivated": "1"}}), "its condition is not met"),
    (rule(0, output={"expr": "1"}), "its condition is not met"),
    (rule(0, effect="EFFECT_MAYBE"), "effect must be"),
    (lambda policy: policy["resourcePolicy"]["rules"][0].pop("name"), "must have a name"),
    (expr("R.attr.exits"), "resource attribute exits is not in its schema"),
    (expr("request.resource.attr.exits"), "resource attribute exits is not in its schema"),
    (expr("P.attr.exits"), "principal attribute exits is not in its schema"),
    (expr("request.principal.attr.exits"), "principal attribute exits"),
    (expr("R . attr . exits"), "resource attribute exits"),
    (expr('R.attr["exists"]'), "with a dot"),
    (expr('"exists" in R.attr'), "with a dot"),
    (expr("has(R.attr.exists)"), "has()"),
    (expr("has ( request.resource.attr.exists )"), "has()"),
    (body(variables={"local": {"x": "R.attr.exits"}}), "resource attribute exits"),
    (
        rule(1, output={"when": {"ruleActivated": "R.attr.exits"}}),
        "resource attribute exits",
    ),
]


@pytest.mark.parametrize(
    ("change", "said"),
    BROKEN,
    ids=[f"{number} {said}" for number, (_, said) in enumerate(BROKEN)],
)
def test_a_broken_rule_is_found(change: Change, said: str) -> None:
    found = findings(change)
    assert any(said in finding for finding in found), found
    assert all(finding.startswith("thing.yaml: ") for finding in found)


def test_a_shared_variable_is_held_to_the_schema_of_who_imports_it() -> None:
    shared = {"exportVariables": {"name": "shared", "definitions": {"x": "R.attr.exits"}}}
    assert findings(more={"shared.yaml": shared}) == []
    imported = findings(body(variables={"import": ["shared"]}), {"shared.yaml": shared})
    assert imported == ["thing.yaml: resource attribute exits is not in its schema"]


def test_a_kind_has_one_policy() -> None:
    (found,) = findings(more={"again.yaml": copy.deepcopy(SOUND)})
    assert "its kind has a policy already" in found


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (SCHEMA | {"additionalProperties": True}, "additionalProperties false"),
        (SCHEMA | {"type": "array"}, "object schema"),
        (SCHEMA | {"required": ["other"]}, "require every property"),
    ],
)
def test_a_schema_is_closed_and_complete(schema: dict[str, Any], said: str) -> None:
    (found,) = findings(more={"_schemas/open.json": schema})
    assert found.startswith("_schemas/open.json: ")
    assert said in found
