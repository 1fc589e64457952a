"""The plan catalog: read strictly, faults named, one digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.domain.charge import components
from control_plane.domain.dunning_policy import DunningPolicy
from control_plane.domain.entitlement import meters
from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.domain.money import Money
from control_plane.domain.plans import PlanCatalog, PlanOffer, Trial, direction, parse_plans
from control_plane.domain.prices import amount
from control_plane.errors import BadInput, NotFound

SAMPLE = Path(__file__).parents[3] / "control_plane" / "data" / "sample" / "plans.yaml"
WHOLE = SAMPLE.read_text(encoding="utf-8")
TEXT = WHOLE.partition("\n  # Plans with prices")[0]  # what is free
CHARGED = """
    charges:
      - interval: month
        prices: [{model: flat, currency: USD, amount_minor: 900}]

"""
HEAD, FREE, TEAM = TEXT.replace("  - name:", "\x00  - name:").split("\x00")


def test_the_sample_offers_free_and_team_at_no_price() -> None:
    catalog = parse_plans(TEXT, "plans.yaml")
    free, team = catalog.offer("free"), catalog.offer("team")
    assert [offer.name for offer in catalog.plans] == ["free", "team"]
    assert free.isolations == ("pooled",)
    assert team.isolations == ("bridge", "pooled", "silo")
    assert free.regions == ("local",)
    assert (free.charges, free.priced, team.priced) == ((), False, False)
    assert free.quotas.records_max < team.quotas.records_max
    assert (free.clouds, free.size) == (("local",), "small")


def test_the_sample_also_offers_plans_with_prices() -> None:
    free, team, business, enterprise = parse_plans(WHOLE, "plans.yaml").plans
    assert [one.priced for one in (free, team, business, enterprise)] == [False, False, True, True]
    assert direction(team, business) == direction(business, enterprise) == "upgrade"


def test_direction_follows_rank_and_never_price() -> None:
    catalog = parse_plans(HEAD + FREE.rstrip() + CHARGED + TEAM, "plans.yaml")
    free, team = catalog.offer("free"), catalog.offer("team")
    assert (free.priced, team.priced) == (True, False)
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
        ("    rank: 10\n", "    rank: 1.5\n", "plans[0].rank", "integer"),
        ("    rank: 10\n", "    rank: '0'\n", "plans[0].rank", "integer"),
        ("    rank: 10\n", "    rank: -1\n", "plans[0].rank", "greater than"),
        ("    rank: 10\n", "", "plans[0].rank", "required"),
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
        parse_plans(TEXT.replace("tier: free", "tier: HUNTER2"), "plans.yaml")
    assert "HUNTER2" not in str(caught.value)


def test_the_words_for_isolation_and_cloud_are_closed_lists() -> None:
    assert ISOLATIONS == ("silo", "bridge", "pooled")
    assert CLOUDS == ("local", "aws", "azure", "gcp", "oci", "ibm")


# a plan in full -------------------------------------------------------------------------------

FULL = """
    clouds: [local, aws]
    entitlements:
      - {kind: boolean, feature: sso}
      - {kind: static, feature: file_mb, value: 8}
      - {kind: metered, feature: calls, soft_limit: 900, hard_limit: 1000, grace_hours: 72}
    add_ons:
      - name: archive
        title: Archive
        quantity_max: 5
        entitlements: [{kind: metered, feature: storage, hard_limit: 50}]
    charges:
      - interval: month
        prices:
          - {model: flat, currency: USD, amount_minor: 4900}
          - {model: flat, currency: EUR, amount_minor: 4500, minimum_minor: 5000}
      - component: seats
        interval: month
        prices:
          - {model: per_seat, currency: USD, unit_amount_minor: 1500}
          - {model: per_seat, currency: EUR, unit_amount_minor: '1400.5'}
      - component: calls
        interval: month
        prices:
          - model: tiered
            currency: USD
            tiers: [{up_to: 1000}, {up_to: null, unit_amount_minor: '0.05'}]
          - {model: package, currency: EUR, package_units: 1000, package_amount_minor: 50}
      - component: archive
        interval: month
        prices:
          - {model: flat, currency: USD, amount_minor: 900}
          - {model: flat, currency: EUR, amount_minor: 800}
    trial: {days: 14, at_trial_end: cancel}
    proration: day
    dunning:
      retry_days: [0, 3, 7]
      thresholds: [{minor: 100, currency: USD}]
      when_exhausted: cancel
    pausable: true
    term_intervals: 12
"""


def full(old: str = "", new: str = "") -> PlanOffer:
    assert old in FULL
    text = HEAD + FREE + TEAM.rstrip() + FULL.replace(old, new, 1)
    return parse_plans(text, "plans.yaml").offer("team")


def test_a_plan_says_everything_that_a_subscription_needs() -> None:
    plan = full()
    assert plan.clouds == ("aws", "local")
    assert meters(plan.entitlements) == {"calls"}
    assert [one.name for one in plan.add_ons] == ["archive"]
    assert components(plan.charges) == ("archive", "calls", "plan", "seats")
    assert plan.trial == Trial(days=14, method_required=False, at_trial_end="cancel")
    assert (plan.proration, plan.pausable, plan.term_intervals) == ("day", True, 12)
    assert plan.dunning.retry_days == (0, 3, 7)
    assert plan.dunning.threshold_minor("USD") == 100
    # What the policy leaves out is as everywhere.
    assert plan.dunning.rungs == DunningPolicy().rungs


def test_a_short_plan_has_no_charge_no_trial_no_term_and_the_usual_dunning() -> None:
    plan = parse_plans(TEXT, "plans.yaml").offer("free")
    assert plan.clouds == ("local",)
    assert (plan.entitlements, plan.add_ons, plan.charges) == ((), (), ())
    assert (plan.trial, plan.term_intervals, plan.pausable) == (None, None, False)
    assert (plan.proration, plan.dunning) == ("second", DunningPolicy())


def test_the_price_of_a_component_is_found_by_interval_and_currency() -> None:
    plan = full()
    seats = plan.charge("seats", "month")
    assert seats is not None
    assert amount(seats.in_currency("EUR"), 2) == Money(minor=2801, currency="EUR")
    assert plan.charge("seats", "year") is None
    assert plan.charge("storage", "month") is None


def test_a_plan_whose_add_ons_alone_have_prices_is_free() -> None:
    archive = full().charge("archive", "month")
    assert archive is not None
    plan = full()
    assert plan.priced
    assert not plan.model_copy(update={"charges": (archive,)}).priced
    assert not plan.model_copy(update={"charges": ()}).priced


@pytest.mark.parametrize("component", ["plan", "seats", "calls"])
def test_one_charge_of_the_plan_makes_it_priced(component: str) -> None:
    charge = full().charge(component, "month")
    assert full().model_copy(update={"charges": (charge,)}).priced


def test_what_is_declared_is_read_again_as_the_same_plan() -> None:
    for plan in (full(), *parse_plans(TEXT, "plans.yaml").plans):
        declared = plan.declared()
        assert PlanOffer.model_validate_json(json.dumps(declared)) == plan
        assert "description" in declared
    free = parse_plans(TEXT, "plans.yaml").offer("free").declared()
    assert {"dunning", "charges", "trial", "clouds"}.isdisjoint(free)


def test_the_order_of_lists_that_say_nothing_by_it_is_no_edit() -> None:
    turned = full("[local, aws]", "[aws, local]").model_copy(
        update={"charges": full().charges, "entitlements": full().entitlements}
    )
    assert turned == full()
    assert not PlanCatalog(plans=(full(),)).edits(turned)


CHANGES = [
    ("days: 14", "days: 15"),
    ("amount_minor: 4900", "amount_minor: 4901"),
    ("hard_limit: 1000", "hard_limit: 1001"),
    ("proration: day", "proration: second"),
    ("when_exhausted: cancel", "when_exhausted: unpaid"),
    ("quantity_max: 5", "quantity_max: 6"),
    ("term_intervals: 12", "term_intervals: null"),
    ("up_to: 1000", "up_to: 1001"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_every_change_of_what_a_version_says_is_an_edit(old: str, new: str) -> None:
    before, after = PlanCatalog(plans=(full(),)), full(old, new)
    assert before.edits(after)
    assert not before.edits(after.model_copy(update={"version": 2}))
    assert not before.edits(after.model_copy(update={"name": "other"}))
    assert before.digest() != PlanCatalog(plans=(after,)).digest()


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("component: calls", "component: callz", "charges", "a meter or an add-on of the plan"),
        ("component: archive", "component: sso", "charges", "a meter or an add-on of the plan"),
        ("name: archive", "name: calls", "add_ons", "not called plan, seats, or like a meter"),
        ("name: archive", "name: storage", "add_ons", "not called plan, seats, or like a meter"),
        ("name: archive", "name: seats", "add_ons", "not called plan, seats, or like a meter"),
        ("soft_limit: 900", "soft_limit: 9000", "entitlements[2]", "at most the hard one"),
        ("model: flat,", "model: fixed,", "charges[0].prices[0].model", "must be one of 'flat'"),
        ("model: flat, ", "", "charges[0].prices[0].model", "is required"),
        ("kind: boolean, ", "", "entitlements[0].kind", "is required"),
        ("4900", "-1", "charges[0].prices[0].amount_minor", "greater than"),
        ("4900", "'49'", "charges[0].prices[0].amount_minor", "integer"),
        ("'0.05'", "'-0.05'", "charges[2].prices[0].tiers[1].unit_amount_minor", "0 or more"),
        ("{up_to: 1000}, ", "{up_to: null}, ", "charges[2].prices[0].tiers", "no end"),
        ("currency: EUR, amount", "currency: eur, amount", "charges[0].prices[1].currency", "patt"),
        ("interval: month", "interval: week", "charges[0].interval", "'month' or 'year'"),
        ("days: 14", "days: 0", "trial.days", "greater than"),
        ("at_trial_end: cancel", "at_trial_end: bill", "trial.at_trial_end", "'pause' or 'cancel'"),
        ("proration: day", "proration: hour", "proration", "'second' or 'day'"),
        ("[0, 3, 7]", "[3, 0]", "dunning", "the days of retries rise"),
        ("pausable: true", "pausable: 1", "pausable", "boolean"),
        ("term_intervals: 12", "term_intervals: 0", "term_intervals", "greater than"),
        ("[local, aws]", "[moon]", "clouds[0]", "'local'"),
    ],
)
def test_a_fault_deep_in_a_plan_is_named_as_the_file_has_it(
    old: str, new: str, field: str, rule: str
) -> None:
    with pytest.raises(BadInput) as caught:
        full(old, new)
    assert caught.value.field == f"plans.yaml: plans[1].{field}"
    assert rule in caught.value.rule


def test_a_model_that_is_not_known_is_not_repeated() -> None:
    with pytest.raises(BadInput) as caught:
        full("model: flat,", "model: hunter2,")
    assert "hunter2" not in str(caught.value)
