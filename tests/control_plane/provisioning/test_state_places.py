"""States that lie elsewhere, over real Terraform: one for each tenant, locked, unlocked after a kill, and no secret in a file. Not the clouds' storage.

The stack is made of Terraform's own resources, each with a program at which it can be struck.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.errors import Failed, Unknown
from control_plane.provisioning import binary, workspace
from control_plane.provisioning.accounts import (
    BackendKind,
    CloudAccount,
    Clouds,
    FromEnvironment,
)
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import Sites
from control_plane.provisioning.stacks import StackRequest
from tests.support.apply_faults import STEPS, Struck, blow, struck_module
from tests.support.states.places import (
    PLACES,
    Place,
    on_azure,
    on_google,
    on_ibm,
    on_oracle,
    on_postgres,
)
from tests.support.waiting import until

ALL: Final = ("membership", *STEPS)
ADDRESSES: Final = tuple(sorted(f"terraform_data.{one}" for one in ALL))


def at(*always: BackendKind) -> pytest.MarkDecorator:
    """A test at every place for states, at these of them always."""
    some = [pytest.param(one, marks=() if one in always else pytest.mark.sweep) for one in PLACES]
    return pytest.mark.parametrize("place", some, indirect=True)


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    kind: BackendKind = request.param
    folder = tmp_path_factory.mktemp("states")
    makes: dict[BackendKind, Callable[[], AbstractContextManager[Place]]] = {
        "pg": lambda: on_postgres(request.getfixturevalue("postgres")),
        "cos": lambda: on_ibm(folder),
        "azurerm": lambda: on_azure(folder),
        "gcs": on_google,
        "oci": on_oracle,
    }
    with makes[kind]() as made:
        yield made


@pytest.fixture
def struck(tmp_path: Path) -> Struck:
    return struck_module(tmp_path, tmp_path)


@pytest.fixture
def provisioner(
    place: Place, struck: Struck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TerraformProvisioner:
    """One that leaves every folder in which Terraform worked to be looked through."""
    kept, remove = tmp_path / "worked-in", workspace._remove

    def look_first(home: Path) -> None:
        assert_no_secret(place, home)
        remove(home)

    monkeypatch.setattr(workspace, "_remove", look_first)
    return provisioner_of(place, struck, kept)


def provisioner_of(place: Place, struck: Struck, root: Path) -> TerraformProvisioner:
    account = CloudAccount(
        account="one",
        regions=("eu",),
        credentials=FromEnvironment(kind="environment", names=("UNUSED",)),
        state=place.state,
    )
    sites = Sites(
        root,
        Clouds(accounts={"aws": account}),
        fetch_credentials=lambda _source: place.credentials,
    )
    return TerraformProvisioner(
        # Only newer ones know Oracle's storage.
        binary.find(None, os.environ["PATH"] if place.state.kind != "oci" else "/nowhere"),
        RunnerSettings(lock_timeout_s=1, grace_s=5.0),
        root,
        b"k" * 32,
        admitted_modules=frozenset({struck.admitted}),
        module_overrides={("aws", "pooled"): struck.module},
        sites=sites,
    )


def request_of(tenant: str) -> StackRequest:
    return StackRequest(
        tenant=tenant,
        run_id="run-1",
        cloud="aws",
        isolation="pooled",
        plan="pro",
        region="eu",
        workspace="0a1b2c3d",
    )


def secrets_of(place: Place) -> list[bytes]:
    # What tells where a database lies is no secret.
    hidden = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE_KEY")
    return [one.encode() for name, one in place.credentials.items() if hidden.search(name)]


def assert_no_secret(place: Place, folder: Path) -> None:
    """No file below holds a credential, and no plan's inside does."""
    assert secrets_of(place)
    for path in (one for one in folder.rglob("*") if one.is_file()):
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        for content in contents:
            assert not [one for one in secrets_of(place) if one in content], path.name


def resources_in(text: str | None) -> list[Any]:
    return [] if not text else list(json.loads(text)["resources"])


@at("gcs")
def test_a_stack_lives_with_its_state_elsewhere(
    place: Place, provisioner: TerraformProvisioner, tmp_path: Path
) -> None:
    one, other = request_of("one-life"), request_of("other-life")
    assert provisioner.settle(one) == "absent"
    for request in (one, other):
        plan = provisioner.observe(request)
        assert plan.facts.creates == len(ALL)
        applied = provisioner.apply(request, plan.artifact)
        assert applied.resources == ADDRESSES
        with zipfile.ZipFile(io.BytesIO(plan.artifact)) as archive:
            (tmp_path / "plan.zip").write_bytes(archive.read("plan.tfplan"))
        assert_no_secret(place, tmp_path)
    # Two tenants have two states, and no file here is one.
    assert place.read(one) != place.read(other)
    assert len(resources_in(place.read(one))) == len(ALL)
    assert not list(tmp_path.rglob("terraform.tfstate*/*resources*"))
    for request in (one, other):
        standing = provisioner.look(request)
        assert (standing.settled, standing.resources) == ("present", ADDRESSES)
        assert provisioner.outputs(request) == dict(standing.outputs)
        assert not provisioner.drift(request).drifted
        assert provisioner.observe(request).no_changes
    provisioner.destroy(one)
    assert (provisioner.settle(one), provisioner.settle(other)) == ("absent", "present")
    assert resources_in(place.read(one)) == []
    assert not place.is_locked(one)
    provisioner.destroy(other)


@pytest.mark.long
@at("oci")
def test_a_state_that_somebody_holds_is_left_to_them(
    place: Place, provisioner: TerraformProvisioner
) -> None:
    request = request_of("held")
    provisioner.apply(request, provisioner.observe(request).artifact)
    plan = provisioner.observe(request, destroy=True)
    before = place.read(request)
    with place.held(request):
        for ask in (
            lambda: provisioner.settle(request),
            lambda: provisioner.observe(request),
            lambda: provisioner.apply(request, plan.artifact),
            lambda: provisioner.destroy(request),
        ):
            with pytest.raises(Failed) as failed:
                ask()
            assert (failed.value.code, failed.value.retryable) == ("state_locked", True)
        assert place.is_locked(request)
        assert place.read(request) == before
    provisioner.apply(request, plan.artifact)
    assert provisioner.settle(request) == "absent"


@pytest.mark.long
@at("cos", "azurerm")
@pytest.mark.parametrize("fault", ["kill", pytest.param("interrupt", marks=pytest.mark.sweep)])
def test_what_an_apply_that_was_struck_leaves_of_its_lock_does_not_stand_in_the_way(
    place: Place, provisioner: TerraformProvisioner, struck: Struck, fault: Any
) -> None:
    request = request_of(f"struck-{fault}")
    plan = provisioner.observe(request)
    struck.arm("second", fault)
    with pytest.raises(Unknown):
        provisioner.apply(request, plan.artifact, should_stop=blow(struck, fault))
    if fault == "kill" and place.state.kind != "pg":
        assert place.is_locked(request)
    else:  # of a database, by its session's end
        until(lambda: not place.is_locked(request), "nobody holds the state")
    struck.mend()
    standing = provisioner.look(request)
    # What is far away is written every 20 s and at the end: a kill takes what it knew with it.
    assert standing.settled == ("absent" if fault == "kill" else "differs")
    assert not place.is_locked(request)
    provisioner.apply(request, provisioner.observe(request).artifact)
    assert provisioner.settle(request) == "present"
    provisioner.destroy(request)
    assert provisioner.settle(request) == "absent"


@pytest.mark.long
@at("pg")
@pytest.mark.usefixtures("place")
def test_while_one_tenants_first_apply_is_at_work_anothers_is_not_held_up(
    provisioner: TerraformProvisioner, struck: Struck
) -> None:
    one, other = request_of("first-one"), request_of("first-other")
    made: list[str] = []

    def meanwhile() -> bool:
        if struck.is_struck() and not made:
            made.append(provisioner.settle(other))
            provisioner.apply(other, provisioner.observe(other).artifact)
            made.append(provisioner.settle(other))
            (struck.folder / "fifo").write_text("go\n")
        return False

    plan = provisioner.observe(one)
    struck.arm("second", "hang")
    provisioner.apply(one, plan.artifact, should_stop=meanwhile)
    assert made == ["absent", "present"]
    for request in (one, other):
        provisioner.destroy(request)
