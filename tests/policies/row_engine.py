"""Policies about rows, written by rules, and an engine that has them. Not a test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from policies.binary import Binary
from policies.bundle import build_bundle
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir

POLICIES = Path(__file__).parents[2] / "policies" / "cerbos"
ALLOW, DENY = "EFFECT_ALLOW", "EFFECT_DENY"


def rule(effect: str, roles: Sequence[str], actions: Sequence[str], found: object) -> Any:
    roles_or_derived = (
        {"derivedRoles": ["bots"]} if list(roles) == ["bots"] else {"roles": [*roles]}
    )
    condition = {} if found is None else {"condition": {"match": found}}
    return {"actions": [*actions], "effect": effect, **roles_or_derived, **condition}


def policy(kind: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    named = [{"name": f"r{number}", **one} for number, one in enumerate(rules)]
    return {
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {
            "resource": kind,
            "version": "default",
            "importDerivedRoles": ["row_roles"],
            "schemas": {
                "principalSchema": {"ref": "cerbos:///principal.json"},
                "resourceSchema": {"ref": f"cerbos:///{kind}.json"},
            },
            "rules": named,
        },
    }


ROLES: dict[str, Any] = {
    "apiVersion": "api.cerbos.dev/v1",
    "derivedRoles": {
        "name": "row_roles",
        "definitions": [
            {
                "name": "bots",
                "parentRoles": ["viewer", "support"],
                "condition": {"match": {"expr": 'P.attr.actor == "bot"'}},
            }
        ],
    },
}
TYPES: dict[str, Any] = {
    "s": {"type": ["string", "null"]},
    "n": {"type": ["number", "null"]},
    "b": {"type": ["boolean", "null"]},
    "t": {"type": "string"},
}
ODD_TYPES: dict[str, Any] = TYPES | {"m": {}, "o": {}, "l": {}}


def schema(types: Mapping[str, Any]) -> dict[str, object]:
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "required": [*types], "properties": dict(types)}


def one_rule(text: str) -> list[Any]:
    return [rule(ALLOW, ("viewer",), ("read",), {"expr": text})]


def engine(binary: Binary, folder: Path, kinds: Mapping[str, list[Any]]) -> Iterator[Gate]:
    """A gate before an engine that has these kinds; one bundle, one start."""
    source = folder / "source"
    source.mkdir()
    for kind, rules in kinds.items():
        (source / f"{kind}.yaml").write_text(json.dumps(policy(kind, rules)))
    (source / "row_roles.yaml").write_text(json.dumps(ROLES))
    generated = {
        f"_schemas/{kind}.json": schema(ODD_TYPES if kind.startswith("odd") else TYPES)
        for kind in kinds
    }
    bundle = build_bundle([POLICIES, source], folder / "bundles", generated)
    pdp = Pdp(binary.path, bundle, new_runtime_dir())
    gate = Gate(pdp.socket, bundle.version, deadline_s=5.0)
    try:
        pdp.start()
        pdp.wait_ready(60)
        yield gate
    finally:
        gate.close()
        pdp.stop()
        shutil.rmtree(pdp.runtime_dir)
