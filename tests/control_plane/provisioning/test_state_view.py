"""What is read out of a state: what it holds, and whether two readings are of the same. Not where it lies."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from control_plane.errors import Failed
from control_plane.provisioning.state_view import NO_STATE, read_state

RESOURCE: Final[dict[str, Any]] = {
    "mode": "managed",
    "type": "terraform_data",
    "name": "one",
    "instances": [{"attributes": {"input": 1.5}}],
}
STATE: Final[dict[str, Any]] = {
    "version": 4,
    "terraform_version": "1.11.4",
    "serial": 3,
    "lineage": "0f3b0d5c-8d0b-2a4e-5f57-6c1f0d6c3a11",
    "outputs": {"database": {"value": {"name": "x"}, "type": "string"}},
    "resources": [RESOURCE],
    "check_results": [{"object_kind": "var", "config_addr": f"var.{one}"} for one in "ab"],
}


def read(**changed: Any) -> Any:
    return read_state(json.dumps(STATE | changed).encode())


def test_a_state_that_is_written_anew_is_the_same_state() -> None:
    # Terraform writes what it fetches with its checks in another order each time.
    again = read(check_results=STATE["check_results"][::-1])
    assert again == read()
    assert again.addresses == ("terraform_data.one",)
    assert read_state(json.dumps(STATE, indent=4, sort_keys=True).encode()) == read()


@pytest.mark.parametrize(
    "changed",
    [
        {"serial": 4},
        {"lineage": "another"},
        {"resources": []},
        {"resources": [RESOURCE | {"name": "two"}]},
        {"resources": [RESOURCE | {"instances": [{"attributes": {"input": 1.25}}]}]},
        {"outputs": {}},
    ],
    ids=str,
)
def test_a_state_that_holds_something_else_is_another(changed: dict[str, Any]) -> None:
    assert read(**changed).digest != read().digest


def test_what_is_fetched_of_a_state_that_nobody_made_is_none() -> None:
    assert read(lineage="", serial=0, resources=[], outputs={}) == NO_STATE
    assert read_state(b"") == read_state(b"\n") == NO_STATE
    # Without a lineage, but with something in it, it is no empty one.
    assert read(lineage="").addresses == ("terraform_data.one",)


@pytest.mark.parametrize(
    "content", [b"x", b"[]", b'{"version": 3}', b'{"version": 4, "resources": 1}']
)
def test_what_is_no_state_is_said_to_be_unreadable(content: bytes) -> None:
    with pytest.raises(Failed) as failed:
        read_state(content)
    assert failed.value.code == "state_unreadable"
