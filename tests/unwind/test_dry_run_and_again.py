"""What an onboarding leaves that was only planned, or that failed: nothing, and a name to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.workers import running_worker
from tests.unwind.lifecycles import DESCRIBED, Asked

if TYPE_CHECKING:
    from tests.unwind.site import Site

FAILING = "onboard.database.before:1:raise"


@pytest.fixture(scope="module")
def site(sqlite_site: Site) -> Site:
    return sqlite_site


def onboarding(tenant: str, **changed: Any) -> Asked:
    asked = DESCRIBED["onboard"].asked(tenant, "pooled")
    return Asked(asked.tool, {**asked.arguments, **changed})


@pytest.mark.long
def test_a_dry_run_tells_its_plan_and_leaves_nothing(site: Site) -> None:
    with running_worker(site.house, *site.worker_options()):
        run_id = site.propose(onboarding("dry-one", dry_run=True))
        site.follow(run_id)
        told: Any = site.call(Asked("run_get", {"run_id": run_id})).answer()["result"]
    assert (told["state"], told["reason"]) == ("discarded", "dry_run")
    assert told["result"]["parts"]["rows"]["tenant"] == "dry-one"
    assert site.tenant("dry-one") is None
    assert site.effects.of("dry-one") == (0, 0)
    assert not list(site.house.workspace.terraform.glob("dry-one/*/terraform.tfstate"))


@pytest.mark.sweep
def test_a_tenant_whose_onboarding_failed_is_onboarded_by_a_second_call(site: Site) -> None:
    tenant = "second-try"
    with running_worker(site.house, *site.worker_options(FAILING)):
        first = site.follow(site.propose(onboarding(tenant)))
        assert first.state == "compensated"
        standing = site.tenant(tenant)
        assert standing is not None
        assert standing.state == "provision_failed"

        second = site.follow(site.propose(onboarding(tenant, idempotency_key="another-try")))
    assert second.state == "applied", second
    standing = site.tenant(tenant)
    assert standing is not None
    assert standing.state == "active"
    assert site.effects.of(tenant) == (2, 1)
    assert site.vouched(tenant)
