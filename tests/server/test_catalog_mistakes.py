"""Mistakes of plans, coupons and collections, across files and in files that are half written. Not of policies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.data.collection import SAMPLES
from control_plane.domain.plans import PlanCatalog
from server.catalog_mistakes import COUPONS, EDITED, PLANS, Mistake, read_declared

OFFERS = (SAMPLES / PLANS).read_bytes().partition(b"\n  # Plans with prices")[0]
CONTACTS = (SAMPLES / "contacts.yaml").read_bytes()
NAME = "collections/contacts.yaml"
SMALL = "name: {name}\ndescription: x\nfields:\n  a: {{kind: string}}\n{more}"


def small(name: str, more: str = "") -> bytes:
    return SMALL.format(name=name, more=more).encode()


def found(files: dict[str, bytes]) -> list[tuple[str, int, str]]:
    return [(one.file, one.line, one.part) for one in read_declared(files).mistakes]


def test_files_without_a_mistake_are_read() -> None:
    read = read_declared({PLANS: OFFERS, NAME: CONTACTS})
    assert read.mistakes == ()
    assert set(read.collections) == {"contacts"}
    assert [one.name for one in read.plans] == ["free", "team"]


def test_offers_that_disagree_are_told_where_the_later_one_stands() -> None:
    text = OFFERS.decode()
    first, second = (text.index("  - name:"), text.rindex("  - name:"))
    repeated = text + text[first:second]
    (mistake,) = read_declared({PLANS: repeated.encode()}).mistakes
    assert mistake.part == "plans.2"
    assert mistake.line == text.count("\n") + 1
    assert mistake.rule == "a name and version stand only once"


def test_an_offer_with_a_mistake_hides_none_of_another() -> None:
    text = OFFERS.decode().replace("rank: 10", "rank: -1", 1).replace("[local]", "[Local]")
    parts = [part for _, _, part in found({PLANS: text.encode()})]
    assert parts == ["plans.0.rank", "plans.0.regions.0", "plans.1.regions.0"]


CHARGES = """\
    entitlements:
      - {kind: metered, feature: calls, hard_limt: 5}
    charges:
      - interval: month
        prices:
          - model: flat
            currency: USD
            amount_minr: 4900
          - {model: fixed, currency: EUR}
          - {currency: CHF}
          - model: tiered
            currency: GBP
            tiers:
              - up_to: 5
                unit_amount: 3
    trial:
      dais: 5
"""


def test_a_mistake_deep_in_an_offer_is_told_by_its_own_line_and_the_files_own_words() -> None:
    start = OFFERS.decode().count("\n") + 1
    read = read_declared({PLANS: OFFERS + CHARGES.encode()})
    told = {
        (one.line - start, one.part.removeprefix("plans.1."), one.rule) for one in read.mistakes
    }
    prices = "charges.0.prices"
    assert told == {
        (1, "entitlements.0.hard_limt", "is not known; did you mean hard_limit?"),
        (5, f"{prices}.0.amount_minor", "Field required"),
        (7, f"{prices}.0.amount_minr", "is not known; did you mean amount_minor?"),
        (
            8,
            f"{prices}.1.model",
            "must be one of 'flat', 'per_seat', 'package', 'tiered', 'volume'",
        ),
        (9, f"{prices}.2.model", "is required"),
        (14, f"{prices}.3.tiers.0.unit_amount", "is not known; did you mean unit_amount_minor?"),
        (15, "trial.days", "Field required"),
        (16, "trial.dais", "is not known; did you mean days?"),
    }


IN_FORCE = PlanCatalog(plans=read_declared({PLANS: OFFERS}).plans)


def test_a_version_that_is_applied_is_never_edited() -> None:
    edited = OFFERS.replace(b"seats_max: 25", b"seats_max: 26")
    (mistake,) = read_declared({PLANS: edited}, IN_FORCE).mistakes
    line = OFFERS.decode().split("name: team")[0].count("\n") + 1
    assert mistake == Mistake(PLANS, line, "plans.1", EDITED)
    assert read_declared({PLANS: edited}).mistakes == ()


def test_another_version_and_another_way_to_say_the_same_are_no_edit() -> None:
    text = OFFERS.decode()
    added = text + text[text.rindex("  - name:") :].replace("version: 1", "version: 2")
    same = (
        text.replace("[pooled, bridge, silo]", "[silo, pooled, bridge]") + "    pausable: false\n"
    )
    for files in (text, added, same):
        assert read_declared({PLANS: files.encode()}, IN_FORCE).mistakes == ()


def test_a_reference_is_told_in_a_file_with_other_mistakes_too() -> None:
    more = "  b: {kind: reference, collection: peple}\n  c: {kind: strin}\n"
    files = {"collections/one.yaml": small("one", more), "collections/people.yaml": b"name: ["}
    read = read_declared(files)
    assert (
        Mistake(
            "collections/one.yaml",
            5,
            "fields.b.collection",
            "must be a declared collection; did you mean people?",
        )
        in read.mistakes
    )
    assert ("collections/one.yaml", 6, "fields.c.kind") in found(files)


def test_a_name_that_would_make_a_tool_of_another_collection_is_told() -> None:
    files = {
        "collections/invoice.yaml": small("invoice", "verbs: [get]\n"),
        "collections/invoice_record.yaml": small("invoice_record", "verbs: [get]\n"),
    }
    assert found(files) == [("collections/invoice_record.yaml", 1, "name")]


def test_a_collection_may_be_called_like_an_object_of_ours() -> None:
    assert found({"collections/tenant.yaml": small("tenant", "verbs: [get]\n")}) == []


@given(st.integers(0, len(CONTACTS)), st.integers(0, len(OFFERS)))
def test_a_file_that_ends_anywhere_is_read_or_told(contacts: int, offers: int) -> None:
    read = read_declared({PLANS: OFFERS[:offers], NAME: CONTACTS[:contacts]})
    told = {one.file for one in read.mistakes}
    assert (NAME in told) is ("contacts" not in read.collections)
    assert PLANS in told or read.plans


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_told(content: bytes) -> None:
    assert read_declared({PLANS: content, NAME: content}).mistakes


COUPON_LINES = """\
coupons:
  - code: SPRING
    title: Spring
    percent_of: 5
    duration: once
  - code: SUMMER
    title: Summer
    amount_off: {minor: 500, curency: EUR}
    duration: once
"""


def test_mistakes_of_coupons_are_told_by_their_lines() -> None:
    read = read_declared({PLANS: OFFERS, COUPONS: COUPON_LINES.encode()})
    told = {(one.file, one.line, one.part, one.rule) for one in read.mistakes}
    assert (
        COUPONS,
        4,
        "coupons.0.percent_of",
        "is not known; did you mean percent_off?",
    ) in told
    assert (
        COUPONS,
        8,
        "coupons.1.amount_off.curency",
        "is not known; did you mean currency?",
    ) in told


def test_a_coupon_for_a_plan_that_no_file_declares_is_told() -> None:
    text = "coupons:\n  - {code: ONE, title: One, percent_off: 5, duration: once, plans: [teem]}\n"
    (mistake,) = read_declared({PLANS: OFFERS, COUPONS: text.encode()}).mistakes
    assert (mistake.file, mistake.line, mistake.part) == (COUPONS, 2, "coupons.0.plans")
    assert mistake.rule.endswith("did you mean team?")
    right = text.replace("teem", "team")
    assert read_declared({PLANS: OFFERS, COUPONS: right.encode()}).mistakes == ()
