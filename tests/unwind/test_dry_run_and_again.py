"""What an onboarding leaves that was only planned, or that failed: nothing, and a name to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.waiting import until
from tests.support.workers import running_worker

if TYPE_CHECKING:
    from tests.unwind.conftest import Site

ENDED = frozenset({"applied", "compensated", "failed", "discarded"})
FAILING = "onboard.database.before:1:raise"


def call(site: Site, tool: str, arguments: dict[str, object]) -> dict[str, Any]:
    with site.house.face(site.agent) as face:
        answer = face.front.call(tool, arguments)
    assert answer.outcome is not None, answer.bad_input
    return answer.outcome.answer()


def test_a_dry_run_tells_its_plan_and_leaves_nothing(site: Site) -> None:
    with running_worker(site.house, *site.worker_options()):
        asked = site.arguments("dry-one", "pooled") | {"dry_run": True}
        run_id = str(call(site, "tenant_onboard", asked)["run_id"])
        until(lambda: site.run(run_id).state in ENDED, "the run ends")
        told = call(site, "run_get", {"run_id": run_id})["result"]
    assert (told["state"], told["reason"]) == ("discarded", "dry_run")
    assert told["result"]["parts"]["rows"]["tenant"] == "dry-one"
    assert site.tenant("dry-one") is None
    assert site.effects_of("dry-one") == 0
    assert site.terraform_resources("dry-one") == 0


def test_a_tenant_whose_onboarding_failed_is_onboarded_by_a_second_call(site: Site) -> None:
    tenant = "second-try"
    with running_worker(site.house, *site.worker_options(FAILING)):
        first = site.onboard(tenant, "pooled").run_id
        until(lambda: site.run(str(first)).state in ENDED, "the first run ends")
        assert site.run(str(first)).state == "compensated"
        standing = site.tenant(tenant)
        assert standing is not None
        assert standing.state == "provision_failed"

        asked = site.arguments(tenant, "pooled") | {"idempotency_key": "another-try"}
        second = str(call(site, "tenant_onboard", asked)["run_id"])
        until(lambda: site.run(second).state in ENDED, "the second run ends")
    assert site.run(second).state == "applied", site.run(second)
    standing = site.tenant(tenant)
    assert standing is not None
    assert standing.state == "active"
    assert site.vouched()
