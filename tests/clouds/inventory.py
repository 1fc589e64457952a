"""What `registry rebuild` lists, through each cloud's own SDK: by account, told apart, with silence told. Not the adapters' contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from control_plane.domain.isolation import Cloud
from control_plane.provisioning.accounts import CloudAccount, Clouds, Credentials
from control_plane.provisioning.clouds.choose import adapter_for
from control_plane.provisioning.clouds.port import CloudAdapter
from control_plane.provisioning.inventory import Inventory, Silence, inventory
from server.registry_stacks import place_of, stacks_of
from tests.clouds.bench import OTHER_WORKSPACE, WORKSPACE, Bench, asked_for
from tests.clouds.conftest import BENCHES
from tests.clouds.contract import HASTE


def looked(*benches: Bench, account: str = "") -> tuple[Clouds, Inventory]:
    """What is found in the accounts of these, of which the last may be declared as another."""
    own = {one.cloud: one for one in benches}
    declared: dict[Cloud, CloudAccount] = {one.cloud: one.account for one in benches}
    if account:
        last = benches[-1]
        declared[last.cloud] = last.account.model_copy(update={"account": account})

    def adapt(cloud: Cloud, given: CloudAccount, _credentials: Mapping[str, str]) -> CloudAdapter:
        return adapter_for(cloud, given, own[cloud].credentials, HASTE)

    def fetched(_source: Credentials) -> Mapping[str, str]:
        return {}

    clouds = Clouds(accounts=declared)
    return clouds, inventory(clouds, WORKSPACE, adapt, fetched)


def test_tenants_stacks_are_told_by_their_labels(bench: Bench) -> None:
    for tenant in ("acme", "globex"):
        bench.stand(asked_for(bench, tenant))
    bench.stand(asked_for(bench, "initech", workspace=OTHER_WORKSPACE))
    bench.server.asked.clear()
    clouds, seen = looked(bench)
    stacks = stacks_of(seen.found, clouds)
    assert [(one.tenant, one.isolation, one.plans, one.code) for one in stacks] == [
        ("acme", "silo", ("pro",), ""),
        ("globex", "silo", ("pro",), ""),
    ]
    # Oracle's stand-in has one address for all regions, and so belongs to none.
    place = None if bench.cloud == "oci" else (bench.cloud, bench.regions[0])
    assert {place_of([one], "silo") for one in stacks} == {place}
    assert seen.silent == ()
    writes = [one for one in bench.server.asked if one.method not in {"GET", "HEAD"}]
    assert [one.target for one in writes if not bench.is_read(one)] == []


def test_credentials_of_another_account_are_told_and_nothing_is_listed(bench: Bench) -> None:
    bench.stand(asked_for(bench))
    _, seen = looked(bench, account=bench.other_account)
    assert seen.found == ()
    assert seen.silent == (Silence(bench.cloud, bench.other_account, "account_differs"),)


@pytest.mark.parametrize(
    "silent",
    ["aws", *(pytest.param(one, marks=pytest.mark.sweep) for one in BENCHES if one != "aws")],
)
def test_a_cloud_that_does_not_answer_hides_no_other(tmp_path: Path, silent: Cloud) -> None:
    made: Callable[[Path], AbstractContextManager[Bench]]
    with ExitStack() as stack:
        benches: list[Bench] = []
        for cloud, made in BENCHES.items():
            folder = tmp_path / cloud
            folder.mkdir()
            benches.append(stack.enter_context(made(folder)))
            benches[-1].stand(asked_for(benches[-1]))
        (quiet,) = [one for one in benches if one.cloud == silent]
        stack.enter_context(quiet.server.troubled(500))
        _, seen = looked(*benches)
    assert [(one.cloud, one.code) for one in seen.silent] == [(silent, "cloud_unavailable")]
    assert {one.cloud for one in seen.found} == set(BENCHES) - {silent}
