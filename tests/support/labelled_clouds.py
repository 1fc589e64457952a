"""Accounts of clouds in which labelled resources stand, or which do not answer. No SDK, and no cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from control_plane.domain.isolation import Cloud
from control_plane.errors import Unavailable
from control_plane.provisioning.accounts import CloudAccount
from control_plane.provisioning.clouds.port import Check, CloudAdapter, Found

ACCOUNTS: Final = """\
accounts:
  aws:
    account: "111111111111"
    regions: [eu-central-1, us-east-1]
    credentials: {kind: file, path: CREDENTIALS}
  gcp:
    account: our-project
    regions: [europe-west3]
    credentials: {kind: file, path: CREDENTIALS}
"""


def resource(
    name: str, tenant: str, isolation: str = "silo", *, workspace: str, region: str = "eu-central-1"
) -> Found:
    """A bucket with the labels of a tenant's stack."""
    borne = {
        "paybill_workspace": workspace,
        "paybill_tenant": tenant,
        "paybill_isolation": isolation,
        "paybill_plan": "team",
    }
    return Found(type="bucket", import_id=name, name=name, region=region, labels=borne)


def accounts_file(folder: Path) -> Path:
    """The file of two accounts whose credentials can be fetched."""
    secrets = folder / "credentials.json"
    secrets.write_text('{"KEY": "testing"}')
    secrets.chmod(0o600)
    path = folder / "clouds.yaml"
    path.write_text(ACCOUNTS.replace("CREDENTIALS", str(secrets)))
    path.chmod(0o600)
    return path


@dataclass
class LabelledClouds:
    """What each account holds, by its id; ``silent`` do not answer, ``others`` turn out to be another."""

    held: dict[str, list[Found]] = field(default_factory=dict[str, list[Found]])
    silent: set[str] = field(default_factory=set[str])
    others: set[str] = field(default_factory=set[str])
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def adapt(
        self, cloud: Cloud, account: CloudAccount, _credentials: Mapping[str, str]
    ) -> CloudAdapter:
        """The adapter of one account."""
        return cast("CloudAdapter", _Looking(self, cloud, account.account))


@dataclass
class _Looking:
    clouds: LabelledClouds
    cloud: Cloud
    account: str

    def identity(self) -> Check:
        if self.account in self.clouds.silent:
            raise Unavailable("It does not answer.", code="cloud_unavailable")
        ok = self.account not in self.clouds.others
        return Check(name="identity", about="account", ok=ok, said="looked at")

    def owned(self, workspace: str, tenant: str | None = None) -> tuple[Found, ...]:
        self.clouds.asked.append((self.account, workspace))
        found = self.clouds.held.get(self.account, [])
        return tuple(one for one in found if one.labels["paybill_workspace"] == workspace)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"an inventory asks for no {name}")
