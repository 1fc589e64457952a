"""A worker that is killed together with its Terraform in the middle of an apply, and the next one that takes it up. No cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from control_plane.domain.tenant import TENANT as TENANTS
from control_plane.facts.load import tenant_row
from server.wiring import Face
from tests.support.apply_faults import STEPS, Struck, struck_module
from tests.support.house import House, build_house
from tests.support.onboarding import ask, follow, onboarding
from tests.support.slices import sliced
from tests.support.waiting import until
from tests.support.workers import kill_with_its_children, running_worker

TENANT: Final = "acme"
RUN_S: Final = 120.0


@pytest.fixture
def struck(tmp_path: Path) -> Struck:
    return struck_module(tmp_path, tmp_path)


def options(struck: Struck) -> list[str]:
    """What a worker is started with, so that it takes the module that can be struck."""
    return ["--modules", str(struck.modules), "--admit-module", struck.admitted]


def killed_in_an_apply(house: House, face: Face, struck: Struck, step: str) -> str:
    """A run whose worker and Terraform are both killed while a step's program is at work; its id."""
    struck.arm(step, "hang")
    with running_worker(house, *options(struck)) as worker:
        asked = ask(face, "tenant_onboard", **onboarding(TENANT))
        until(struck.is_struck, "the apply is at that step", RUN_S)
        gone = kill_with_its_children(worker)
        assert struck.terraform() in gone, "Terraform was no child of the worker"
    struck.mend()
    return str(asked["run_id"])


@pytest.mark.long
@pytest.mark.parametrize("step", sliced(STEPS[1:] + STEPS[:1], every=3))
def test_the_next_worker_takes_back_what_a_killed_one_and_its_terraform_left(
    tmp_path: Path, cerbos_binary: Path, struck: Struck, step: str
) -> None:
    house = build_house(tmp_path / "house", cerbos_binary)
    with house.face(house.issue("platform_admin", "*")) as face:
        run_id = killed_in_an_apply(house, face, struck, step)
        assert struck.stands() == frozenset(STEPS[: STEPS.index(step)])
        with running_worker(house, *options(struck)):
            follow(face, run_id, {"compensated"}, RUN_S)
            assert_left(house, struck, "provision_failed", frozenset())
            again = ask(face, "tenant_onboard", **onboarding(TENANT))
            follow(face, str(again["run_id"]), {"applied"}, RUN_S)
        assert_left(house, struck, "active", frozenset(STEPS))


def assert_left(house: House, struck: Struck, state: str, stands: frozenset[str]) -> None:
    """The tenant is stable, nothing was made twice, and nothing of an operation is left."""
    with house.store() as store, store.read() as connection:
        tenant = tenant_row(connection, TENANT)
    assert tenant is not None
    assert tenant.state == state
    assert state in TENANTS.stable
    assert (struck.stands(), struck.twice()) == (stands, [])
    root = house.workspace.terraform
    assert not list(root.glob("*/.operations/*"))
    assert (root / TENANT / "pooled" / "terraform.tfstate").is_file()
