"""The plan catalog: read strictly, faults named, one digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.domain.money import Money
from control_plane.domain.plans import direction, parse_plans
from control_plane.errors import BadInput, NotFound

SAMPLE = Path(__file__).parents[3] / "control_plane" / "data" / "sample" / "plans.yaml"
TEXT = SAMPLE.read_text(encoding="utf-8")
HEAD, FREE, TEAM = TEXT.replace("  - name:", "\x00  - name:").split("\x00")


def test_the_sample_offers_free_and_team_at_no_price() -> None:
    catalog = parse_plans(TEXT, "plans.yaml")
    free, team = catalog.offer("free"), catalog.offer("team")
    assert [offer.name for offer in catalog.plans] == ["free", "team"]
    assert free.isolations == ("pooled",)
    assert team.isolations == ("bridge", "pooled", "silo")
    assert free.regions == ("local",)
    assert free.price == team.price == Money(minor=0, currency="USD")
    assert free.quotas.records_max < team.quotas.records_max
    assert free.allows("pooled", "local")
    assert not free.allows("silo", "local")
    assert not free.allows("pooled", "mars")


def test_direction_follows_rank_and_never_price() -> None:
    catalog = parse_plans(TEXT.replace("price_minor: 0", "price_minor: 900", 1), "plans.yaml")
    free, team = catalog.offer("free"), catalog.offer("team")
    assert free.price_minor > team.price_minor
    assert direction(free, team) == "upgrade"
    assert direction(team, free) == "downgrade"
    assert direction(team, team) == "same"


def test_the_newest_version_is_offered_unless_one_is_named() -> None:
    catalog = parse_plans(TEXT + "\n" + TEAM.replace("version: 1", "version: 2"), "plans.yaml")
    assert catalog.offer("team").version == 2
    assert catalog.offer("team", 1).version == 1
    for name, version in (("team", 3), ("gold", None)):
        with pytest.raises(NotFound):
            catalog.offer(name, version)


def test_the_digest_follows_content_and_not_the_order_of_the_file() -> None:
    base = parse_plans(TEXT, "plans.yaml").digest()
    turned = parse_plans(HEAD + TEAM + "\n" + FREE, "other.yaml").digest()
    swapped = parse_plans(
        TEXT.replace("[pooled, bridge, silo]", "[silo, bridge, pooled]"), "plans.yaml"
    ).digest()
    changed = parse_plans(TEXT.replace("seats_max: 3", "seats_max: 4"), "plans.yaml").digest()
    assert base == turned == swapped
    assert base != changed
    assert len(base) == 64


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("    price_minor: 0\n", "    price_minor: 1.5\n", "plans[0].price_minor", "integer"),
        ("    price_minor: 0\n", "    price_minor: '0'\n", "plans[0].price_minor", "integer"),
        ("    price_minor: 0\n", "    price_minor: -1\n", "plans[0].price_minor", "greater than"),
        ("    price_minor: 0\n", "", "plans[0].price_minor", "required"),
        ("currency: USD", "currency: usd", "plans[0].currency", "pattern"),
        ("interval: month", "interval: week", "plans[0].interval", "'month' or 'year'"),
        ("[pooled]", "[shared]", "plans[0].isolations[0]", "'silo', 'bridge' or 'pooled'"),
        ("[pooled]", "[]", "plans[0].isolations", "at least 1"),
        ("[pooled]", "[pooled, pooled]", "plans[0].isolations", "only once"),
        ("[pooled]", "pooled", "plans[0].isolations", "array"),
        ("[local]", "[Local]", "plans[0].regions[0]", "pattern"),
        ("seats_max: 3", "seats_max: 0", "plans[0].quotas.seats_max", "greater than"),
        ("seats_max: 3", "seats: 3", "plans[0].quotas.seats_max", "required"),
        ("tier: free", "tier: free\n    secret: x", "plans[0].secret", "not permitted"),
        ("rank: 20", "rank: 10", "catalog", "share a rank"),
        ("name: team", "name: free", "catalog", "only once"),
    ],
)
def test_a_fault_names_file_field_and_rule(old: str, new: str, field: str, rule: str) -> None:
    assert old in TEXT
    with pytest.raises(BadInput) as caught:
        parse_plans(TEXT.replace(old, new, 1), "plans.yaml")
    assert caught.value.field == f"plans.yaml: {field}"
    assert rule.lower() in caught.value.rule.lower()


@pytest.mark.parametrize("text", ["", "[]", "plans:", "plans: []", "plans: {}", "other: 1"])
def test_a_catalog_without_offers_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match=r"^plans\.yaml: "):
        parse_plans(text, "plans.yaml")


def test_a_fault_never_repeats_the_value() -> None:
    with pytest.raises(BadInput) as caught:
        parse_plans(TEXT.replace("currency: USD", "currency: hunter2"), "plans.yaml")
    assert "hunter2" not in str(caught.value)


def test_the_words_for_isolation_and_cloud_are_closed_lists() -> None:
    assert ISOLATIONS == ("silo", "bridge", "pooled")
    assert CLOUDS == ("local", "aws", "azure", "gcp", "oci", "ibm")
