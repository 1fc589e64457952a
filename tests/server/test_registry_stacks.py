"""What labels tell of stacks and of whose they are, and what they leave open. Not how resources are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.provisioning.accounts import Clouds, parse_clouds
from control_plane.provisioning.clouds.port import Found
from control_plane.provisioning.inventory import Labelled
from server.registry_stacks import FoundStack, isolation_of, place_of, stacks_of
from tests.support.labelled_clouds import accounts_file, resource

OURS, AWS, GCP = "0a1b2c3d", "111111111111", "our-project"


@pytest.fixture
def clouds(tmp_path: Path) -> Clouds:
    return parse_clouds(accounts_file(tmp_path).read_text(), "clouds.yaml")


def bucket(name: str, tenant: str = "acme", isolation: str = "silo", region: str = "") -> Found:
    region = region or "eu-central-1"
    return resource(name, tenant, isolation, workspace=OURS, region=region)


def on_aws(*found: Found) -> list[Labelled]:
    return [Labelled("aws", AWS, one) for one in found]


def test_resources_with_the_same_labels_are_one_stack(clouds: Clouds) -> None:
    (one,) = stacks_of(on_aws(bucket("b-1"), bucket("b-2")), clouds)
    assert one == FoundStack("acme", "aws", AWS, "silo", ("eu-central-1",), ("team",), 2)


def test_tenants_models_and_accounts_are_told_apart(clouds: Clouds) -> None:
    found = on_aws(bucket("b-1"), bucket("b-2", "globex"), bucket("b-3", isolation="pooled"))
    stacks = stacks_of([*found, Labelled("gcp", GCP, bucket("b-1"))], clouds)
    assert [(one.tenant, one.cloud, one.isolation) for one in stacks] == [
        ("acme", "aws", "pooled"),
        ("acme", "aws", "silo"),
        ("acme", "gcp", "silo"),
        ("globex", "aws", "silo"),
    ]


def test_only_regions_that_the_settings_name_are_a_stacks(clouds: Clouds) -> None:
    role = bucket("r").model_copy(update={"region": ""})
    (one,) = stacks_of(on_aws(bucket("b-1"), role, bucket("b-2", region="global")), clouds)
    assert (one.regions, one.resources) == (("eu-central-1",), 3)


@pytest.mark.parametrize("tenant", ["", "Acme", "a", "acme; drop", "x" * 41])
def test_a_label_that_is_no_tenants_name_is_told_as_it_stands(clouds: Clouds, tenant: str) -> None:
    (one,) = stacks_of(on_aws(bucket("b-1", tenant)), clouds)
    assert (one.tenant, one.code) == (tenant, "tenant_not_named")


def test_a_label_that_is_no_model_of_ours_is_told(clouds: Clouds) -> None:
    (one,) = stacks_of(on_aws(bucket("b-1", isolation="island")), clouds)
    assert (one.isolation, one.code) == (None, "isolation_not_named")


def test_a_stack_in_another_account_than_the_settings_give_is_told(clouds: Clouds) -> None:
    (one,) = stacks_of([Labelled("aws", "222222222222", bucket("b-1"))], clouds)
    assert (one.code, one.regions) == ("account_moved", ())
    assert place_of([one], "silo") is None


def test_a_place_is_told_where_one_stack_of_the_model_leaves_nothing_open(clouds: Clouds) -> None:
    stacks = stacks_of(on_aws(bucket("b-1"), bucket("b-2", isolation="pooled")), clouds)
    assert place_of(stacks, "silo") == ("aws", "eu-central-1")
    assert place_of(stacks, "bridge") is None


def test_two_places_for_one_model_are_none(clouds: Clouds) -> None:
    two_regions = stacks_of(on_aws(bucket("b-1"), bucket("b-2", region="us-east-1")), clouds)
    assert place_of(two_regions, "silo") is None
    google = Labelled("gcp", GCP, bucket("b-2", region="europe-west3"))
    assert place_of(stacks_of([*on_aws(bucket("b-1")), google], clouds), "silo") is None


def test_of_several_models_the_most_separate_counts(clouds: Clouds) -> None:
    both = on_aws(bucket("b-1", isolation="pooled"), bucket("b-2", isolation="bridge"))
    assert isolation_of(stacks_of(both, clouds)) == "bridge"
    assert isolation_of(()) is None
