"""What the simulated provider plans, makes, keeps and sees, asked without Terraform. Not a cloud's behaviour."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.simulated.protocol import MESSAGES
from tests.support.simulated.provider import SimulatedProvider
from tests.support.simulated.schema import (
    SCHEMAS,
    Block,
    ProviderSchema,
    read_schema,
    write_schema,
)
from tests.support.simulated.values import UNKNOWN, decode, encode, made, with_unknowns
from tests.support.simulated.world import World

BLOCK: Final[Block] = {
    "attributes": {
        "id": {"type": "string", "computed": True},
        "name": {"type": "string", "required": True},
        "tags": {"type": ["map", "string"], "optional": True},
        "zones": {"type": ["set", "string"], "optional": True, "computed": True},
        "parts": {"type": ["list", ["object", {"port": "number"}]], "computed": True},
        "password_wo": {"type": "string", "optional": True, "write_only": True},
    },
    "block_types": {
        "rule": {
            "nesting_mode": "list",
            "block": {
                "attributes": {
                    "key": {"type": "string", "required": True},
                    "place": {"type": "string", "computed": True},
                }
            },
        }
    },
}
PROPOSED: Final[dict[str, Any]] = {
    **dict.fromkeys(BLOCK["attributes"]),
    "name": "one",
    "tags": {"a": "b"},
    "password_wo": "planted",
    "rule": [{"key": "k", "place": None}],
}
_ROW: Final = re.compile(r"^\| `(\S+)` \| `(\S+)` \| (\S+) \|", re.MULTILINE)
TEXTS: Final = st.none() | st.text(max_size=8)
VALUES: Final = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "name": st.text(max_size=8),
        "tags": st.none() | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3),
        "zones": st.none() | st.lists(st.text(max_size=4), max_size=3),
        "parts": st.none(),
        "password_wo": TEXTS,
        "rule": st.lists(
            st.fixed_dictionaries({"key": st.text(max_size=4), "place": TEXTS}), max_size=3
        ),
    }
)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return tmp_path / "world.json"


@pytest.fixture
def provider(world: Path) -> SimulatedProvider:
    schema = ProviderSchema(
        provider="registry.terraform.io/example/cloud",
        version="1.0.0",
        provider_block={},
        resources={"cloud_thing": BLOCK},
        data={"cloud_here": {"attributes": {"id": {"type": "string", "computed": True}}}},
        force_new={"cloud_thing": ["name"]},
    )
    return SimulatedProvider(schema, World(world))


def message(value: Any) -> Any:
    return MESSAGES["Value"](msgpack=encode(value))


def planned(provider: SimulatedProvider, prior: Any, proposed: Any) -> Any:
    question = MESSAGES["PlanQuestion"](
        type_name="cloud_thing", prior_state=message(prior), proposed_new_state=message(proposed)
    )
    return provider.plan(question)


def applied(provider: SimulatedProvider, prior: Any, wanted: Any) -> Any:
    question = MESSAGES["ApplyQuestion"](
        type_name="cloud_thing", prior_state=message(prior), planned_state=message(wanted)
    )
    return provider.apply(question)


def stood(provider: SimulatedProvider) -> dict[str, Any]:
    """A resource as it stands once it is made."""
    wanted = decode(planned(provider, None, PROPOSED).planned_state.msgpack)
    state: dict[str, Any] = decode(applied(provider, None, wanted).new_state.msgpack)
    return state


def seen(provider: SimulatedProvider, state: Any) -> Any:
    question = MESSAGES["ReadQuestion"](type_name="cloud_thing", current_state=message(state))
    return decode(provider.read(question).new_state.msgpack)


def test_what_the_provider_chooses_is_unknown_in_the_plan(provider: SimulatedProvider) -> None:
    plan = decode(planned(provider, None, PROPOSED).planned_state.msgpack)
    assert plan == {
        **PROPOSED,
        **dict.fromkeys(("id", "zones", "parts"), UNKNOWN),
        "password_wo": None,
        "rule": [{"key": "k", "place": UNKNOWN}],
    }


def test_what_is_made_has_a_value_for_all_that_was_unknown(provider: SimulatedProvider) -> None:
    state = stood(provider)
    assert state["id"].startswith("sim-id-")
    assert [set(one) for one in state["parts"]] == [{"port"}]
    assert state["password_wo"] is None
    assert state == stood(provider)


def test_another_resource_has_another_id(provider: SimulatedProvider) -> None:
    wanted = decode(planned(provider, None, PROPOSED | {"name": "two"}).planned_state.msgpack)
    other = decode(applied(provider, None, wanted).new_state.msgpack)
    assert other["id"] != stood(provider)["id"]


def test_what_stands_as_it_is_wanted_is_left_alone(provider: SimulatedProvider) -> None:
    state = stood(provider)
    answer = planned(provider, state, state)
    assert decode(answer.planned_state.msgpack) == state
    assert list(answer.requires_replace) == []


def test_a_change_is_made_in_place_and_keeps_the_id(provider: SimulatedProvider) -> None:
    state = stood(provider)
    answer = planned(provider, state, state | {"tags": {"a": "c"}})
    after = decode(applied(provider, state, decode(answer.planned_state.msgpack)).new_state.msgpack)
    assert list(answer.requires_replace) == []
    assert after == state | {"tags": {"a": "c"}}


def test_a_change_of_what_cannot_change_wants_another_resource(
    provider: SimulatedProvider,
) -> None:
    state = stood(provider)
    answer = planned(provider, state, state | {"name": "two"})
    paths = [[step.attribute_name for step in one.steps] for one in answer.requires_replace]
    assert paths == [["name"]]


def test_nothing_is_left_of_what_is_removed(provider: SimulatedProvider) -> None:
    answer = applied(provider, stood(provider), None)
    assert decode(answer.new_state.msgpack) is None
    assert list(answer.diagnostics) == []


def test_the_world_changes_and_removes_what_stands(
    provider: SimulatedProvider, world: Path
) -> None:
    state = stood(provider)
    assert seen(provider, state) == state
    change = {"type": "cloud_thing", "id": state["id"], "attributes": {"tags": None}}
    world.write_text(json.dumps([change]))
    assert seen(provider, state) == state | {"tags": None}
    assert seen(provider, state | {"id": "another"}) == state | {"id": "another"}
    world.write_text(json.dumps([{"type": "cloud_thing", "gone": True}]))
    assert seen(provider, state) is None


@pytest.mark.parametrize("deed", ["create", "update", "delete"])
def test_the_world_lets_one_deed_fail_and_nothing_changes(
    provider: SimulatedProvider, world: Path, deed: str
) -> None:
    state = stood(provider)
    prior, wanted = {"create": (None, state), "update": (state, state), "delete": (state, None)}[
        deed
    ]
    world.write_text(json.dumps([{"type": "cloud_thing", "fails": deed}]))
    answer = applied(provider, prior, wanted)
    assert [one.summary for one in answer.diagnostics] == [f"the {deed} was refused"]
    assert decode(answer.new_state.msgpack) == prior


def test_what_stands_already_is_taken_over_by_its_id(provider: SimulatedProvider) -> None:
    question = MESSAGES["ImportQuestion"](type_name="cloud_thing", id="abc")
    (taken,) = provider.take_over(question).imported_resources
    state = decode(taken.state.msgpack)
    assert {name for name, value in state.items() if value} == {"id"}
    assert list(planned(provider, state, PROPOSED | {"id": "abc"}).requires_replace) == []


def test_a_data_source_says_the_same_each_time(provider: SimulatedProvider) -> None:
    question = MESSAGES["DataQuestion"](type_name="cloud_here", config=message({"id": None}))
    first, second = (provider.look(question).state.msgpack for _turn in range(2))
    assert decode(first)["id"].startswith("sim-id-")
    assert first == second


@given(VALUES)
def test_a_value_comes_through_the_wire_as_it_was(value: dict[str, Any]) -> None:
    unknown = with_unknowns(BLOCK, value)
    assert decode(encode(unknown)) == unknown


@given(VALUES)
def test_what_was_known_stays_and_nothing_stays_unknown(value: dict[str, Any]) -> None:
    after = made("cloud_thing", BLOCK, with_unknowns(BLOCK, value))
    assert "UNKNOWN" not in repr(json.dumps(after))
    assert after["password_wo"] is None
    kept = {name: one for name, one in value.items() if one is not None}
    kept.pop("password_wo", None)
    kept.pop("rule")
    assert {name: after[name] for name in kept} == kept
    assert [one["key"] for one in after["rule"]] == [one["key"] for one in value["rule"]]


def test_a_schema_is_the_same_bytes_each_time_and_reads_as_it_was_written(tmp_path: Path) -> None:
    content = {
        "provider": "registry.terraform.io/example/cloud",
        "version": "1.0.0",
        "licence": "MPL-2.0",
        "origin": "here",
        "provider_schema": {},
        "resources": {"cloud_thing": BLOCK},
        "data": {},
    }
    first, second = tmp_path / "first.gz", tmp_path / "second.gz"
    write_schema(first, content)
    write_schema(second, dict(reversed(content.items())))
    assert first.read_bytes() == second.read_bytes()
    schema = read_schema(first)
    assert (schema.name, schema.resources, schema.force_new) == (
        "cloud",
        {"cloud_thing": BLOCK},
        {},
    )


def test_the_notice_names_every_schema_file_with_its_provider_and_version() -> None:
    schemas = {path.name: read_schema(path) for path in SCHEMAS.glob("*.json.gz")}
    assert set(_ROW.findall((SCHEMAS / "NOTICE.md").read_text("utf-8"))) == {
        (name, one.provider.removeprefix("registry.terraform.io/"), one.version)
        for name, one in schemas.items()
    }
