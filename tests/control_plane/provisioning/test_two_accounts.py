"""Two accounts of one cloud: each tenant's credentials and states reach its own alone, and what stands is not moved. Not AWS.

Each account is an emulator of its own behind a door of its own. Once a simulated provider makes what
stands, and Terraform itself keeps its states there, once the real one: both under `-m sweep`. That a
tenant's site is its own account's always runs, in test_site.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane.domain.isolation import Cloud
from control_plane.errors import Refused
from control_plane.provisioning import binary
from control_plane.provisioning.accounts import (
    CloudAccount,
    Clouds,
    DedicatedAccount,
    FromFile,
)
from control_plane.provisioning.clouds.port import CloudAdapter
from control_plane.provisioning.credentials import fetch
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.site import HeldIn, Sites
from control_plane.provisioning.stacks import StackRequest
from tests.control_plane.provisioning.modules.test_lifecycle import unlocked
from tests.support.aws_account import Tagged, account_behind, lock_path, object_at, standing
from tests.support.emulated_aws import REGION, EmulatedAws, emulated_aws, real_provider
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.simulated.mirror import make_mirror

EVERYBODYS, OWN = "111111111111", "222222222222"
KEYS: Final = {EVERYBODYS: "AKIAEVERYBODYS", OWN: "AKIAACMESOWN"}
TENANTS: Final = {"globex": EVERYBODYS, "acme": OWN}


@dataclass
class Two:
    """The two accounts by id, what each one's door has seen, and whom the adapters were made for."""

    folder: Path
    aws: Mapping[str, EmulatedAws]
    doors: Mapping[str, FaultyProxy]
    adapted: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def account(self, account: str) -> CloudAccount:
        """One of them, whose credentials lie in a file."""
        path = self.folder / f"{account}.json"
        path.write_text(
            json.dumps({"AWS_ACCESS_KEY_ID": KEYS[account], "AWS_SECRET_ACCESS_KEY": "x" * 40})
        )
        path.chmod(0o600)
        behind = account_behind(self.aws[account], self.doors[account].url)
        credentials = FromFile(kind="file", path=path)
        # Nothing breaks down here on purpose: what a busy machine lets drop is asked for again.
        provider = {**behind.provider, "max_retries": 5}
        return behind.model_copy(
            update={"account": account, "credentials": credentials, "provider": provider}
        )

    def clouds(self, mirror: Path) -> Clouds:
        """Both, the second acme's alone."""
        own = self.account(OWN)
        given = {name: getattr(own, name) for name in CloudAccount.model_fields}
        return Clouds(
            mirror=mirror,
            accounts={"aws": self.account(EVERYBODYS)},
            dedicated=(DedicatedAccount(cloud="aws", tenants=("acme",), **given),),
        )

    def sites(self, clouds: Clouds, root: Path, *, looks: bool, held_in: HeldIn) -> Sites:
        """Their sites; with `looks`, a plan and its apply ask the account's adapter too."""

        def adapt(_cloud: Cloud, account: CloudAccount, found: Mapping[str, str]) -> CloudAdapter:
            self.adapted.append((account.account, found["AWS_ACCESS_KEY_ID"]))
            return Tagged(self.aws[account.account])

        return Sites(
            root,
            clouds,
            adapt=adapt if looks else None,
            fetch_credentials=lambda source: fetch(source, {}),
            held_in=held_in,
        )

    def keys(self) -> dict[str, set[str]]:
        """Whose keys came to each door."""
        return {account: door.keys for account, door in self.doors.items()}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    with ExitStack() as stack:
        aws: dict[str, EmulatedAws] = {}
        doors: dict[str, FaultyProxy] = {}
        for account in (EVERYBODYS, OWN):
            monkeypatch.setenv("MOTO_ACCOUNT_ID", account)
            aws[account] = stack.enter_context(emulated_aws(tmp_path / f"{account}.log"))
            doors[account] = stack.enter_context(faulty_proxy(aws[account].url))
        yield Two(tmp_path, aws, doors)


def request_of(tenant: str) -> StackRequest:
    return StackRequest(
        tenant=tenant,
        run_id="run-1",
        cloud="aws",
        isolation="pooled",
        plan="pro",
        region=REGION,
        workspace="0a1b2c3d",
    )


def provisioner_of(sites: Sites, modules: dict[tuple[str, str], Path]) -> TerraformProvisioner:
    return TerraformProvisioner(
        binary.find(None, os.environ["PATH"]),
        RunnerSettings(lock_timeout_s=1),
        sites.root,
        b"k" * 32,
        sites=sites,
        module_overrides=modules,
    )


def nowhere(_request: StackRequest) -> None:
    """Nothing stands yet."""


def has_state(aws: EmulatedAws, tenant: str) -> bool:
    return object_at(aws, lock_path(request_of(tenant)).removesuffix(".tflock")) is not None


def make_both(two: Two, provisioner: TerraformProvisioner) -> None:
    """Make both tenants' stacks; each one's key and state are in its own account and nowhere else."""
    for tenant in TENANTS:
        request = request_of(tenant)
        provisioner.apply(request, provisioner.observe(request).artifact)
        assert provisioner.settle(request) == "present"
    assert two.keys() == {account: {key} for account, key in KEYS.items()}
    stands = {
        (one, account) for one in TENANTS for account in KEYS if has_state(two.aws[account], one)
    }
    assert stands == set(TENANTS.items())


@pytest.mark.sweep
def test_each_tenants_credentials_and_states_reach_its_own_account_and_a_moved_one_is_refused(
    two: Two, tmp_path: Path
) -> None:
    make_mirror(tmp_path / "mirror", ["aws"])
    modules = {("aws", "pooled"): unlocked("aws", "pooled", tmp_path / "module")}
    clouds = two.clouds(tmp_path / "mirror")
    root = tmp_path / "stacks"
    first = provisioner_of(two.sites(clouds, root, looks=False, held_in=nowhere), modules)
    make_both(two, first)
    plan = first.observe(request_of("acme"))
    assert plan.projection["account"] == OWN

    for door in two.doors.values():
        door.keys.clear()
    undone = clouds.model_copy(update={"dedicated": ()})
    sites = two.sites(undone, root, looks=False, held_in=lambda one: TENANTS[one.tenant])
    moved = provisioner_of(sites, modules)
    asked: list[Callable[[StackRequest], Any]] = [
        *(moved.observe, moved.settle, moved.drift, moved.destroy, moved.outputs),
        lambda request: moved.apply(request, plan.artifact),
    ]
    for ask in asked:
        with pytest.raises(Refused) as refused:
            ask(request_of("acme"))
        assert refused.value.code == "account_moved"
    assert two.keys() == {EVERYBODYS: set(), OWN: set()}
    # Nobody else is held up by it, and where it is put right all goes on.
    assert moved.settle(request_of("globex")) == "present"
    sites = two.sites(clouds, root, looks=False, held_in=lambda one: TENANTS[one.tenant])
    provisioner_of(sites, modules).destroy(request_of("acme"))
    assert two.keys() == {account: {key} for account, key in KEYS.items()}


@pytest.mark.sweep
def test_the_real_provider_makes_each_tenants_stack_in_its_own_account(
    two: Two, tmp_path: Path
) -> None:
    sites = two.sites(two.clouds(real_provider()), tmp_path / "stacks", looks=True, held_in=nowhere)
    provisioner = provisioner_of(sites, {})
    make_both(two, provisioner)
    assert set(two.adapted) == set(KEYS.items())
    for tenant, account in TENANTS.items():
        stands = {one for one in KEYS if standing(two.aws[one], request_of(tenant))}
        assert stands == {account}
        provisioner.destroy(request_of(tenant))
        assert not standing(two.aws[account], request_of(tenant))
