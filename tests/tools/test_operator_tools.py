"""What only the command line asks for: parsed as strictly as any tool, and published to nobody."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.commands import ApplyCatalog, ChangeFreeze
from control_plane.data.collection import SAMPLES, load_collection
from control_plane.errors import BadInput
from control_plane.handlers.registry import CHANGES, LIFECYCLES
from tools.form import CollectionForm
from tools.operator_tools import OPERATOR_TOOLS
from tools.parsing import parse_arguments
from tools.registry import TOOLS
from tools.toolbox import toolbox

DIGEST = "0123456789abcdef" * 4
APPLY = OPERATOR_TOOLS["catalog_apply"]
FREEZE = OPERATOR_TOOLS["run_freeze"]


def asked(**changed: Any) -> dict[str, Any]:
    return {"catalog": DIGEST, "idempotency_key": "catalog-1", **changed}


def test_applying_a_catalog_is_a_lifecycle_that_destroys() -> None:
    assert (APPLY.machine, APPLY.risk, APPLY.domain) == ("lifecycle", "destructive", "catalog")
    command = APPLY.to_command(parse_arguments(APPLY, asked()))
    assert command == ApplyCatalog(catalog=DIGEST)
    assert LIFECYCLES[command.name].command_type is ApplyCatalog
    assert command.target() == ""


FROZEN: dict[str, Any] = {"on": True, "reason": "An outage.", "idempotency_key": "freeze-1"}


@pytest.mark.parametrize(
    ("of", "scope", "name"),
    [
        ({}, "workspace", ""),
        ({"tenant": "acme"}, "tenant", "acme"),
        ({"cloud": "aws"}, "cloud", "aws"),
    ],
)
def test_a_freeze_is_a_change_of_one_scope(of: dict[str, str], scope: Any, name: str) -> None:
    assert (FREEZE.machine, FREEZE.risk, FREEZE.domain) == ("change", "write", "freeze")
    command = FREEZE.to_command(parse_arguments(FREEZE, FROZEN | of))
    assert command == ChangeFreeze(scope=scope, of=name, on=True, reason="An outage.")
    assert CHANGES[command.name].outside is False
    assert command.target() == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": "acme", "cloud": "aws"},
        {"cloud": "mars"},
        {"tenant": "Acme"},
        {"reason": ""},
        {"reason": "two\nlines"},
        {"on": "yes"},
    ],
)
def test_what_is_no_freeze_is_bad_input(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        parse_arguments(FREEZE, FROZEN | wrong)


@pytest.mark.parametrize("form", ["generic", "each"])
def test_no_face_publishes_it(form: CollectionForm) -> None:
    contacts = load_collection(SAMPLES / "contacts.yaml")
    assert not OPERATOR_TOOLS.keys() & {*TOOLS, *toolbox({"contacts": contacts}, form)}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"catalog": DIGEST[:-1]}, "catalog"),
        ({"catalog": DIGEST.upper()}, "catalog"),
        ({"catalog": f"{DIGEST}\n"}, "catalog"),
        ({"catalog": "../catalog"}, "catalog"),
        ({"idempotency_key": "short"}, "idempotency_key"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"confirm": True}, "confirm"),
    ],
)
def test_what_is_no_digest_or_no_argument_is_bad_input(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_arguments(APPLY, asked(**changed))
    assert caught.value.field == field
