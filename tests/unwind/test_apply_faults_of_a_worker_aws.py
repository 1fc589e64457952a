"""A worker on an emulated AWS that is killed together with its Terraform, and the next one that finds what they left. Not AWS.

The worker looks at the account through the cloud's own SDK, so it runs where that is: in an environment
that uv makes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs
import pytest

from control_plane.domain.tenant import TENANT as TENANTS
from control_plane.facts.load import tenant_row
from control_plane.provisioning.clouds.aws import SERVICES
from control_plane.provisioning.stacks import StackRequest
from server.catalog import write_sample
from tests.support.approver import approve, enrol
from tests.support.aws_account import (
    account_behind,
    lock_path,
    object_at,
    stand_shared,
    standing,
)
from tests.support.emulated_aws import (
    CREDENTIALS,
    REGION,
    EmulatedAws,
    emulated_aws,
    real_provider,
)
from tests.support.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.support.forked import Start
from tests.support.house import House, build_house
from tests.support.onboarding import ask, follow, onboarding
from tests.support.waiting import until
from tests.support.workers import kill_with_its_children, running_worker
from tests.unwind.test_apply_faults_aws import EVERYTHING

TENANT: Final = "acme"
RUN_S: Final = 900.0
_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_ENVIRONMENT_SETTING: Final = "PAYBILL_TEST_CLOUDS_ENVIRONMENT"
_INSTALL_S: Final = 300.0
_RUN: Final = "import sys; sys.argv = ['paybill', *sys.argv[1:]]; import paybill; paybill.main()"


@dataclass(frozen=True)
class Place:
    """An account in which shared things stand, its door, and a workspace whose worker may use it."""

    aws: EmulatedAws
    door: FaultyProxy
    house: House


@pytest.fixture(scope="module")
def python() -> Path:
    """A Python that has the cloud's SDK, and all that a worker needs."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv: the SDK stands in an environment that uv makes (pip install uv)")
    kept = str(platformdirs.user_cache_path("paybill") / "test-clouds")
    made = os.environ.get(_ENVIRONMENT_SETTING, kept)
    subprocess.run(
        [
            uv,
            "run",
            "--frozen",
            "--extra",
            "aws",
            "--group",
            "clouds",
            "python",
            "-c",
            "import boto3",
        ],
        cwd=_CHECKOUT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": made},
        timeout=_INSTALL_S,
        check=True,
    )
    return Path(made) / "bin" / "python"


@pytest.fixture
def place(tmp_path: Path, cerbos_binary: Path) -> Iterator[Place]:
    mirror = real_provider()
    with emulated_aws(tmp_path / "moto.log") as aws, faulty_proxy(aws.url) as door:
        file = tmp_path / "clouds.yaml"
        file.write_text(
            json.dumps({"mirror": str(mirror), "accounts": {"aws": told(aws, door, tmp_path)}})
        )
        file.chmod(0o600)
        house = build_house(tmp_path / "house", cerbos_binary, catalog=catalog_below(tmp_path))
        enrol(house, "alice")
        yield Place(aws, door, house.with_environment(PAYBILL_CLOUDS_FILE=str(file)))


def told(aws: EmulatedAws, door: FaultyProxy, folder: Path) -> dict[str, object]:
    """The account as a file of accounts declares it."""
    path = folder / "credentials.json"
    path.write_text(json.dumps(CREDENTIALS))
    path.chmod(0o600)
    said = account_behind(aws, door.url).model_dump(mode="json")
    return {
        **said,
        "credentials": {"kind": "file", "path": str(path)},
        "endpoints": dict.fromkeys(SERVICES, aws.url),
        "shared": {REGION: stand_shared(aws)},
    }


def catalog_below(folder: Path) -> Path:
    """The sample, whose larger plan lets a tenant stand in the account's region."""
    catalog = folder / "catalog"
    write_sample(catalog)
    plans = catalog / "plans.yaml"
    before, team, after = plans.read_text().partition("- name: team\n")
    there = after.replace(
        "regions: [local]\n", f"regions: [{REGION}, local]\n    clouds: [aws, local]\n", 1
    )
    assert there != after
    plans.write_text(before + team + there)
    return catalog


@pytest.mark.sweep
def test_the_next_worker_finds_what_a_killed_one_and_its_terraform_left_in_the_cloud(
    place: Place, python: Path
) -> None:
    house = place.house

    def start(given: Start) -> subprocess.Popen[bytes]:
        with given.log.open("ab") as log:
            return subprocess.Popen(
                [str(python), "-c", _RUN, *given.arguments],
                env={**given.environment, "PYTHONPATH": str(_CHECKOUT)},
                cwd=given.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    human = house.issue("platform_admin", "*", actor=None)
    request = stack_of(house)
    with house.face(house.issue("platform_admin", "*")) as face:

        def proposed() -> str:
            wanted = onboarding(TENANT, plan="team", cloud="aws", region=REGION)
            run_id = str(ask(face, "tenant_onboard", **wanted)["run_id"])
            waiting = follow(face, run_id, {"awaiting_approval", "applying", "applied"}, RUN_S)
            if waiting["state"] == "awaiting_approval":
                approve(house, human, str(waiting["approval_id"]))
            return run_id

        with (
            place.door.armed(Fault("cloud", 1, "lost")) as fault,
            running_worker(house, start=start) as worker,
        ):
            run_id = proposed()
            until(fault.struck.is_set, "the cloud was told to make something", RUN_S)
            assert len(kill_with_its_children(worker)) >= 3, "no Terraform was at work"
        assert len(standing(place.aws, request)) == 1
        assert object_at(place.aws, lock_path(request)) is not None
        with running_worker(house, start=start):
            follow(face, run_id, {"compensated"}, RUN_S)
            assert_left(place, "provision_failed", frozenset())
            follow(face, proposed(), {"applied"}, RUN_S)
        assert_left(place, "active", EVERYTHING)


def stack_of(house: House) -> StackRequest:
    """The tenant's stack."""
    return StackRequest(
        tenant=TENANT,
        run_id="look",
        cloud="aws",
        isolation="pooled",
        plan="team",
        region=REGION,
        workspace=house.workspace.id[:8],
    )


def assert_left(place: Place, state: str, stands: frozenset[str]) -> None:
    """The tenant is stable; what stands is whole or nothing, and nobody holds its state."""
    with place.house.store() as store, store.read() as connection:
        tenant = tenant_row(connection, TENANT)
    assert tenant is not None
    assert tenant.state == state
    assert state in TENANTS.stable
    request = stack_of(place.house)
    assert standing(place.aws, request) == stands
    assert object_at(place.aws, lock_path(request)) is None
    assert not list(place.house.workspace.terraform.glob("*/.operations/*"))
