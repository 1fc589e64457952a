"""Which found resource belongs at which address of a module: one place for each, or none. It adopts nothing here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.isolation import Cloud
from control_plane.provisioning import binary
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.port import Check, Found
from control_plane.provisioning.operation import Operation
from control_plane.provisioning.orphans import Orphan, orphans
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest, labels
from tests.control_plane.provisioning.modules.test_lifecycle import (
    clouds_with,
    request_for,
    unlocked,
)


def change(
    address: str, *actions: str, mode: str = "managed", before: Any = None, **after: Any
) -> dict[str, Any]:
    kind = address.partition(".")[0]
    said = {"actions": list(actions or ("create",)), "before": before, "after": after}
    return {"address": address, "mode": mode, "type": kind, "change": said}


def found(kind: str, name: str, import_id: str = "") -> Found:
    return Found(type=kind, import_id=import_id or f"id-{name}", name=name, region="eu", labels={})


def adopted(changes: list[Any], *resources: Found) -> tuple[Orphan, ...]:
    return orphans({"resource_changes": changes}, resources)


def test_the_only_one_of_its_type_belongs_at_the_only_place() -> None:
    assert adopted([change("aws_vpc.x")], found("aws_vpc", "vpc-1")) == (
        Orphan("aws_vpc.x", "id-vpc-1"),
    )


@pytest.mark.parametrize(
    "name", ["name", "bucket", "identifier", "display_name", "id", "arn", "account_id"]
)
def test_of_several_each_is_told_by_its_name(name: str) -> None:
    changes = [change("t.a", **{name: "one"}), change("t.b", **{name: "two"})]
    assert adopted(changes, found("t", "two"), found("t", "one")) == (
        Orphan("t.a", "id-one"),
        Orphan("t.b", "id-two"),
    )


def test_a_tag_is_a_name_too() -> None:
    changes = [change("t.a", tags={"Name": "one"}), change("t.b", tags=None), change("t.c")]
    assert adopted(changes, found("t", "one")) == (Orphan("t.a", "id-one"),)


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [change("t.a", "update", before={"name": "one"}, name="one")],
        [change("t.a", "delete", before={"name": "one"})],
        [change("t.a", "delete", "create", before={"name": "one"}, name="one")],
        [change("t.a", "no-op", before={"name": "one"}, name="one")],
        [change("data.t.a", "read", mode="data")],
        [change("other.a", name="one")],
    ],
    ids=lambda changes: str(changes and changes[0]["change"]["actions"]),
)
def test_what_no_plan_would_make_anew_is_left_alone(changes: list[Any]) -> None:
    assert adopted(changes, found("t", "one")) == ()


def test_what_fits_two_places_or_has_no_type_is_left_out() -> None:
    two = [change("t.a", name="one"), change("t.b", name="one")]
    assert adopted(two, found("t", "one")) == ()
    assert adopted([change("t.a", name="one")], found("", "one")) == ()
    alike = (found("t", "one", "id-1"), found("t", "one", "id-2"))
    assert adopted([change("t.a", name="one")], *alike) == ()


def test_what_the_state_knows_already_is_not_adopted_a_second_time() -> None:
    known = change("t.a", "no-op", before={"id": "id-one", "name": "one"}, name="one")
    assert adopted([known, change("t.b", name="two")], found("t", "one")) == ()
    # Its name may be the same as another's: it is its id that is known.
    assert adopted([known, change("t.b", name="one")], found("t", "one")) == ()


def test_beside_one_that_the_state_knows_another_is_told_by_its_name_alone() -> None:
    known = change("t.a", "update", before={"id": "id-one", "name": "one"}, name="one")
    missing = change("t.b", name="two")
    assert adopted([known, missing], found("t", "one"), found("t", "else")) == ()
    assert adopted([known, missing], found("t", "two")) == (Orphan("t.b", "id-two"),)


NAMES: Final = st.sampled_from(["one", "two", "three"])


def planned(place: str, known: bool, name: str) -> dict[str, Any]:
    action, before = ("no-op", {"id": f"id-{name}"}) if known else ("create", None)
    return change(f"t.{place}", action, before=before, name=name)


CHANGES: Final = st.builds(planned, st.sampled_from("abcd"), st.booleans(), NAMES)


@given(
    st.lists(CHANGES, unique_by=lambda one: str(one["address"])),
    st.lists(NAMES.map(lambda name: found("t", name)), unique_by=lambda one: one.import_id),
)
def test_no_place_and_no_resource_is_given_twice_and_nothing_known_is_given(
    changes: list[Any], resources: list[Found]
) -> None:
    given_ = orphans({"resource_changes": changes}, resources)
    assert list(given_) == sorted(given_)
    for field in ("address", "import_id"):
        assert max(Counter(getattr(one, field) for one in given_).values(), default=0) <= 1
    made = {one["address"] for one in changes if one["change"]["actions"] == ["create"]}
    known = {one["change"]["before"]["id"] for one in changes if one["address"] not in made}
    assert {one.address for one in given_} <= made
    assert not {one.import_id for one in given_} & known


class Inventory:
    """A cloud in which these resources stand, whoever asks."""

    @property
    def cloud(self) -> Cloud:
        """Which cloud it is."""
        return "aws"

    def __init__(self, *resources: Found) -> None:
        self._resources = resources

    def identity(self) -> Check:
        """It is."""
        return Check(name="identity", about="account", ok=True, said="looked at")

    def preflight(self, request: StackRequest) -> tuple[Check, ...]:
        """Nothing is looked at."""
        return ()

    def verify(self, request: StackRequest, outputs: Mapping[str, object]) -> tuple[Check, ...]:
        """Nothing is looked at."""
        return ()

    def owned(self, workspace: str, tenant: str | None = None) -> tuple[Found, ...]:
        """All of them."""
        return self._resources


@pytest.mark.long
def test_the_stack_of_another_model_is_not_adopted_while_a_tenant_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for("aws", "pooled")
    before = labels(request.model_copy(update={"isolation": "bridge"}))
    role = Found(
        type="aws_iam_role", import_id="its-role", name="its-role", region="", labels=before
    )

    def adapt(_cloud: Cloud, _account: CloudAccount, _secrets: Mapping[str, str]) -> Inventory:
        return Inventory(role)

    root = tmp_path / "stacks"
    sites = Sites(
        root,
        clouds_with("aws", "pooled", tmp_path / "mirror"),
        adapt=adapt,
        fetch_credentials=lambda _source: {},
    )
    provisioner = TerraformProvisioner(
        binary.find(None, os.environ["PATH"]),
        RunnerSettings(),
        root,
        b"k" * 32,
        sites=sites,
        module_overrides={("aws", "pooled"): unlocked("aws", "pooled", tmp_path / "module")},
    )
    asked: list[tuple[str, str]] = []

    def adopt(_work: Operation, address: str, import_id: str) -> None:
        asked.append((address, import_id))

    monkeypatch.setattr(Operation, "adopt", adopt)
    assert provisioner.settle(request) == "absent"
    assert asked == []
