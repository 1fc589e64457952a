"""What of two plans is drift: addresses and names of attributes, never a value. No Terraform runs."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning.drift import Drift, Drifted, drift

PLANTED: Final = "s3cret-planted"


def change(address: str, *actions: str, mode: str = "managed", **sides: Any) -> dict[str, Any]:
    return {"address": address, "mode": mode, "change": {"actions": list(actions), **sides}}


def seen(*changes: Any) -> tuple[Drifted, ...]:
    return drift({"resource_changes": list(changes)}, None).resources


def test_a_plan_that_changes_nothing_is_no_drift() -> None:
    idle = [change("a.b", "no-op", before={"x": 1}, after={"x": 1}), change("a.c", "read")]
    found = drift({"resource_changes": idle}, {"resource_drift": []})
    assert found == Drift(resources=(), reported=())
    assert not found.drifted
    assert drift({}, None) == found


def test_what_differs_is_told_by_its_name() -> None:
    before = {"same": 1, "policy": PLANTED, "gone": PLANTED, "nested": {"a": PLANTED}}
    after = {"same": 1, "policy": "x", "new": PLANTED, "nested": {"a": "y"}}
    (one,) = seen(change("aws_x.y", "update", before=before, after=after))
    assert one == Drifted(
        address="aws_x.y", actions=("update",), attributes=("gone", "nested", "new", "policy")
    )
    assert PLANTED not in repr(one)


def test_what_is_only_known_later_is_told_too() -> None:
    sides: dict[str, Any] = {"before": {"id": "1", "name": "x"}, "after": {"name": "x"}}
    (one,) = seen(change("a.b", "delete", "create", **sides, after_unknown={"id": True}))
    assert (one.actions, one.attributes) == (("delete", "create"), ("id",))


@pytest.mark.parametrize(
    ("before", "after"), [(None, {"a": 1}), ({"a": 1}, None), (True, {"a": 1})]
)
def test_a_side_that_is_not_there_has_no_attributes(before: Any, after: Any) -> None:
    (one,) = seen(change("a.b", "create", before=before, after=after))
    assert one.attributes == ("a",)


def test_data_sources_are_nobodys_drift() -> None:
    assert seen(change("data.a.b", "update", mode="data", before={}, after={"x": 1})) == ()


def test_what_a_refresh_reports_is_not_the_verdict() -> None:
    report = {"resource_drift": [change("a.b", "update", before={"etag": 1}, after={"etag": 2})]}
    found = drift({"resource_changes": []}, report)
    assert not found.drifted
    assert [(one.address, one.attributes) for one in found.reported] == [("a.b", ("etag",))]


def test_at_most_two_hundred_are_told_the_first_by_address() -> None:
    many = [change(f"a.b[{number:03}]", "update") for number in reversed(range(250))]
    found = drift({"resource_changes": many}, {"resource_drift": many})
    for told in (found.resources, found.reported):
        assert [one.address for one in told] == [f"a.b[{number:03}]" for number in range(200)]


VALUES: Final = (
    st.none() | st.integers() | st.text(max_size=4) | st.lists(st.integers(), max_size=2)
)
SIDES: Final = st.dictionaries(st.sampled_from("abcdef"), VALUES)


@given(SIDES, SIDES)
def test_an_attribute_is_told_exactly_where_the_sides_differ(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    (one,) = seen(change("a.b", "update", before=before, after=after))
    names = before.keys() | after.keys()
    assert set(one.attributes) == {name for name in names if before.get(name) != after.get(name)}
    assert list(one.attributes) == sorted(one.attributes)
