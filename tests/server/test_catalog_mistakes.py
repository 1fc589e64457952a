"""Mistakes of plans and collections, across files and in files that are half written. Not of policies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.data.collection import SAMPLES
from server.catalog_mistakes import PLANS, Mistake, read_declared

OFFERS = (SAMPLES / PLANS).read_bytes()
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
    text = OFFERS.decode().replace("price_minor: 0", "price_minor: -1", 1).replace("USD", "usd")
    parts = [part for _, _, part in found({PLANS: text.encode()})]
    assert parts == ["plans.0.price_minor", "plans.0.currency", "plans.1.currency"]


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


def test_a_name_that_would_make_a_tool_of_another_name_is_told() -> None:
    files = {"collections/tenant.yaml": small("tenant", "verbs: [get]\n")}
    assert found(files) == [("collections/tenant.yaml", 1, "name")]


@given(st.integers(0, len(CONTACTS)), st.integers(0, len(OFFERS)))
def test_a_file_that_ends_anywhere_is_read_or_told(contacts: int, offers: int) -> None:
    read = read_declared({PLANS: OFFERS[:offers], NAME: CONTACTS[:contacts]})
    told = {one.file for one in read.mistakes}
    assert (NAME in told) is ("contacts" not in read.collections)
    assert PLANS in told or read.plans


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_told(content: bytes) -> None:
    assert read_declared({PLANS: content, NAME: content}).mistakes
