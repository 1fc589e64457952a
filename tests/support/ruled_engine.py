"""A policy engine over declared collections and policies about their rows. Holds no test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import policies
from control_plane.data.collection import Collection
from control_plane.facts.row import row_schemas
from policies.bundle import build_bundle
from policies.gate import Gate
from policies.pdp import Pdp, new_runtime_dir
from policies.row_policies import ROWS_PREFIX, named_attributes

ALLOW, DENY = "EFFECT_ALLOW", "EFFECT_DENY"
_SHIPPED = Path(policies.__file__).parent / "cerbos"


def rule(
    effect: str, roles: Sequence[str], actions: Sequence[str], match: object = None
) -> dict[str, Any]:
    """A rule; `match` is an expression, or what a condition may be, or nothing."""
    said = {"expr": match} if isinstance(match, str) else match
    condition = {} if said is None else {"condition": {"match": said}}
    return {"actions": [*actions], "effect": effect, "roles": [*roles], **condition}


def row_policy(collection: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A policy about the rows of a collection."""
    return {
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {
            "resource": f"{ROWS_PREFIX}{collection}",
            "version": "default",
            "schemas": {
                "principalSchema": {"ref": "cerbos:///principal.json"},
                "resourceSchema": {"ref": f"cerbos:///{ROWS_PREFIX}{collection}.json"},
            },
            "rules": [{"name": f"r{number}", **one} for number, one in enumerate(rules)],
        },
    }


@contextmanager
def ruled_engine(
    binary: Path,
    folder: Path,
    collections: Sequence[Collection],
    rules: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Generator[tuple[Gate, Mapping[str, frozenset[str]]]]:
    """A gate, and of each collection the fields that its policy names; one bundle, one start."""
    source = folder / "source"
    source.mkdir()
    for name, found in rules.items():
        (source / f"{name}.yaml").write_text(json.dumps(row_policy(name, found)))
    named = {
        kind.removeprefix(ROWS_PREFIX): fields for kind, fields in named_attributes(source).items()
    }
    generated = row_schemas({one.name: one for one in collections}, named)
    bundle = build_bundle([_SHIPPED, source], folder / "bundles", generated)
    engine = Pdp(binary, bundle, new_runtime_dir())
    gate = Gate(engine.socket, bundle.version, deadline_s=5.0)
    try:
        engine.start()
        engine.wait_ready(60)
        yield gate, named
    finally:
        gate.close()
        engine.stop()
        shutil.rmtree(engine.runtime_dir)
