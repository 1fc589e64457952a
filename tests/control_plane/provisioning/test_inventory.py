"""What is listed over every account, and that one which does not say hides no other. Not the clouds: `tests/clouds`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from control_plane.errors import Unavailable
from control_plane.provisioning.accounts import Clouds, Credentials, DedicatedAccount, parse_clouds
from control_plane.provisioning.inventory import Inventory, Silence, inventory
from tests.support.labelled_clouds import LabelledClouds, accounts_file, resource

OURS, ANOTHERS = "0a1b2c3d", "ffffffff"
AWS, GCP = "111111111111", "our-project"


@pytest.fixture
def clouds(tmp_path: Path) -> Clouds:
    return parse_clouds(accounts_file(tmp_path).read_text(), "clouds.yaml")


def fetched(_source: Credentials) -> Mapping[str, str]:
    return {"KEY": "testing"}


def look(clouds: Clouds, world: LabelledClouds) -> Inventory:
    return inventory(clouds, OURS, world.adapt, fetched)


def told(seen: Inventory) -> list[tuple[str, str, str]]:
    return [(one.cloud, one.account, one.found.name) for one in seen.found]


def test_every_account_is_listed_by_our_workspaces_label(clouds: Clouds) -> None:
    mine, other = (resource(f"b-{one}", "acme", workspace=one) for one in (OURS, ANOTHERS))
    seen = look(clouds, LabelledClouds({AWS: [mine, other], GCP: [mine]}))
    assert told(seen) == [("aws", AWS, f"b-{OURS}"), ("gcp", GCP, f"b-{OURS}")]
    assert seen.silent == ()


def test_an_account_that_does_not_answer_is_named_and_hides_no_other(clouds: Clouds) -> None:
    one = resource("b-1", "acme", workspace=OURS)
    seen = look(clouds, LabelledClouds({AWS: [one], GCP: [one]}, silent={AWS}))
    assert seen.silent == (Silence("aws", AWS, "cloud_unavailable"),)
    assert told(seen) == [("gcp", GCP, "b-1")]


def test_credentials_of_another_account_are_not_looked_by(clouds: Clouds) -> None:
    world = LabelledClouds({AWS: [resource("b-1", "acme", workspace=OURS)]}, others={AWS})
    seen = look(clouds, world)
    assert (seen.found, seen.silent) == ((), (Silence("aws", AWS, "account_differs"),))
    assert world.asked == [(GCP, OURS)]


def test_credentials_that_cannot_be_had_are_told_by_their_code(clouds: Clouds) -> None:
    def none(_source: Credentials) -> Mapping[str, str]:
        raise Unavailable("There are none.", code="credentials_missing")

    seen = inventory(clouds, OURS, LabelledClouds().adapt, none)
    assert [one.code for one in seen.silent] == ["credentials_missing"] * 2


def test_what_two_entries_of_one_account_see_stands_there_once(clouds: Clouds) -> None:
    given = {
        name: getattr(clouds.accounts["aws"], name)
        for name in type(clouds.accounts["aws"]).model_fields
    }
    own = DedicatedAccount(cloud="aws", tenants=("acme",), **given)
    both = clouds.model_copy(update={"dedicated": (own,)})
    world = LabelledClouds({AWS: [resource("b-1", "acme", workspace=OURS)]})
    assert told(look(both, world)) == [("aws", AWS, "b-1")]
    assert world.asked.count((AWS, OURS)) == 2


def test_without_accounts_nobody_is_asked() -> None:
    assert look(Clouds(), LabelledClouds()) == Inventory()
