"""Handles: who opens one, for how long, and that nothing of a value is in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from control_plane.data.collection import Collection
from control_plane.data.cursor import CHARS_MAX as CURSOR_CHARS_MAX
from control_plane.data.declaration_errors import DeclarationError
from control_plane.data.field import Field
from control_plane.data.filters import parse_filter
from control_plane.data.handles import (
    LIFE,
    PREFIX,
    Giving,
    Handle,
    Handles,
    leaving,
    takes_all_of,
)
from control_plane.data.measures import check_groups, parse_measures
from control_plane.data.models import input_model, output_model, patch_model
from control_plane.data.sealed_text import raw_of, text_of
from control_plane.data.sort import Sort, check_sort
from control_plane.data.values import ValueReader
from control_plane.domain.canonical import Json
from control_plane.errors import BadInput, NotFound

KEY = bytes(range(32))
ROW = "00000000-0000-4000-8000-000000000001"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EMAIL = Handle("people", "email", ROW, 3, NOW)
WHO = {"principal": "ann", "actor": "bot", "tenant": "acme"}

PEOPLE = Collection.model_validate_json(
    """{"name": "people", "description": "Who.", "fields": {
        "title": {"kind": "string"},
        "email": {"kind": "string", "max_length": 80, "pattern": "[^@]+@[^@]+", "group": "pii"},
        "born": {"kind": "date", "nullable": true, "group": "pii"},
        "debt": {"kind": "money", "currency": "EUR", "nullable": true, "group": "pii"},
        "word": {"kind": "enum", "values": ["red", "blue"], "nullable": true, "group": "pii"},
        "life": {"kind": "text", "nullable": true, "group": "pii"},
        "code": {"kind": "string", "nullable": true, "group": "internal"}},
      "groups": {"pii": {"leaves_as": "handle"}, "internal": {"group_size_min": 2}}}"""
)
HANDLED = {"email", "born", "debt", "word", "life"}


def handles(**changed: str) -> Handles:
    return Handles(KEY, **{**WHO, **changed})


def test_a_handle_opens_for_its_caller_and_names_one_value() -> None:
    text = handles().seal(EMAIL)
    assert text.startswith(PREFIX)
    assert handles().open(text, now=NOW) == EMAIL


@pytest.mark.parametrize(
    "other", [{"principal": "bob"}, {"actor": "bot-2"}, {"tenant": "other"}], ids=lambda one: [*one]
)
def test_a_handle_of_another_caller_or_tenant_is_not_there(other: dict[str, str]) -> None:
    text = handles(**other).seal(EMAIL)
    with pytest.raises(NotFound):
        handles().open(text, now=NOW)


def test_who_is_who_does_not_run_together() -> None:
    text = handles(principal="ab", actor="c").seal(EMAIL)
    with pytest.raises(NotFound):
        handles(principal="a", actor="bc").open(text, now=NOW)


def test_a_handle_dies_when_its_time_is_over() -> None:
    text = handles().seal(EMAIL)
    assert handles().open(text, now=NOW + LIFE) == EMAIL
    with pytest.raises(NotFound):
        handles().open(text, now=NOW + LIFE + timedelta(seconds=1))


def test_a_handle_of_another_workspace_is_not_there() -> None:
    text = Handles(bytes(32), **WHO).seal(EMAIL)
    with pytest.raises(NotFound):
        handles().open(text, now=NOW)


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_a_handle_with_any_other_character_does_not_open(place: int, char: str) -> None:
    text = handles().seal(EMAIL)
    place %= len(text)
    if text[place] == char:
        return
    with pytest.raises(NotFound):
        handles().open(text[:place] + char + text[place + 1 :], now=NOW)


@given(st.text(max_size=300))
def test_no_text_that_was_not_given_is_a_handle(text: str) -> None:
    for one in (text, PREFIX + text):
        with pytest.raises(NotFound):
            handles().open(one, now=NOW)


@given(st.binary(max_size=200))
def test_sealed_bytes_have_one_text_and_no_other(raw: bytes) -> None:
    text = text_of(raw)
    assert raw_of(text, CURSOR_CHARS_MAX) == raw
    for other in (f"{text}=", f" {text}", f"{text}\n", f"{text}A"):
        try:
            assert raw_of(other, CURSOR_CHARS_MAX) != raw
        except ValueError:
            continue


ids = st.uuids().map(str)
names = st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True)
instants = st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(names, names, ids, st.integers(1, 2**53 - 1), instants)
def test_any_value_of_any_row_has_a_handle(
    collection: str, field: str, row_id: str, version: int, moment: datetime
) -> None:
    handle = Handle(collection, field, row_id, version, moment)
    text = handles().seal(handle)
    assert handles().open(text, now=moment) == handle
    assert TypeAdapter(str).validate_python(text).isascii()


def test_two_values_never_have_one_handle() -> None:
    later = NOW + timedelta(seconds=1)
    others = [
        EMAIL,
        EMAIL._replace(collection="leads"),
        EMAIL._replace(field="born"),
        EMAIL._replace(row_id=ROW[:-1] + "2"),
        EMAIL._replace(version=4),
        EMAIL._replace(given=later),
    ]
    assert len({handles().seal(one) for one in others}) == len(others)


# what leaves -----------------------------------------------------------------------------------


def test_the_fields_of_the_group_leave_as_handles_and_no_other() -> None:
    assert PEOPLE.handled == HANDLED
    row: dict[str, Json] = {"id": ROW, "title": "Dr", "email": "a@b.c", "born": None, "code": "x"}
    left = leaving(PEOPLE, row, ROW, 3, Giving(handles(), NOW))
    assert left == {**row, "email": handles().seal(EMAIL)}
    assert leaving(PEOPLE, row, ROW, 3, None) == {**row, "email": PREFIX}


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_a_handle_does_not_depend_on_its_value(one: str, other: str) -> None:
    giving = Giving(handles(), NOW)
    assert leaving(PEOPLE, {"email": one}, ROW, 1, giving) == leaving(
        PEOPLE, {"email": other}, ROW, 1, giving
    )


DECLARED: tuple[Field, ...] = (
    Field(kind="string", max_length=10),
    Field(kind="string", max_length=20),
    Field(kind="string", max_length=20, pattern="[a-z]+"),
    Field(kind="string", max_length=20, group="pii"),
    Field(kind="text", max_length=20),
    Field(kind="enum", values=("red",)),
    Field(kind="enum", values=("blue", "red")),
    Field(kind="integer"),
    Field(kind="money", currency="EUR"),
    Field(kind="money", currency="CHF"),
    Field(kind="decimal", precision=6, scale=2),
    Field(kind="decimal", precision=8, scale=2),
    Field(kind="decimal", precision=8, scale=3),
    Field(kind="uuid"),
    Field(kind="reference", collection="people"),
    Field(kind="reference", collection="leads"),
    Field(kind="date"),
    Field(kind="boolean"),
)
VALUES: tuple[Any, ...] = (
    "abcdefghij", "abcdefghijklmnopqrst", "ABC", "red", "blue", 7, "1234.56", "123456.78",
    "12345.678", ROW, "2024-02-29", True,
)  # fmt: skip


def reads(field: Field, value: object) -> bool:
    try:
        ValueReader(field, stored=True).read(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("target", DECLARED, ids=str)
def test_a_field_takes_the_handles_of_another_only_if_every_value_fits(target: Field) -> None:
    for source in DECLARED:
        if takes_all_of(target, source):
            assert target.group == source.group
            assert all(reads(target, one) for one in VALUES if reads(source, one))
    assert takes_all_of(target, target)


def test_a_wider_field_takes_the_handles_of_a_narrower_one() -> None:
    assert takes_all_of(DECLARED[1], DECLARED[0])
    assert takes_all_of(DECLARED[1], DECLARED[2])
    assert takes_all_of(DECLARED[6], DECLARED[5])
    assert takes_all_of(DECLARED[11], DECLARED[10])
    assert not takes_all_of(DECLARED[0], DECLARED[1])
    assert not takes_all_of(DECLARED[2], DECLARED[1])


# what may not be asked ---------------------------------------------------------------------------

READABLE = frozenset(PEOPLE.columns)


def no_order(field: str) -> None:
    check_sort(Sort(field), PEOPLE, READABLE)


def no_groups(field: str) -> None:
    check_groups([field], PEOPLE, READABLE)


@pytest.mark.parametrize("field", sorted(HANDLED))
@pytest.mark.parametrize("asked", [no_order, no_groups])
def test_a_field_that_leaves_as_a_handle_orders_and_groups_nothing(asked: Any, field: str) -> None:
    with pytest.raises(BadInput, match="leaves as a handle"):
        asked(field)


@pytest.mark.parametrize("op", ["sum", "min", "max", "avg"])
def test_it_is_only_counted(op: str) -> None:
    with pytest.raises(BadInput, match="only counted"):
        parse_measures([{"op": op, "field": "debt"}], PEOPLE, READABLE)
    assert parse_measures([{"op": "count", "field": "debt"}], PEOPLE, READABLE)


def redeem(name: str, text: str, path: str) -> Json:
    assert (name, path) == ("email", "filter.value")
    return {"hdl_a": "a@b.c"}[text]


@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge"])
def test_no_filter_asks_for_its_order(op: str) -> None:
    for value in ("a@b.c", "hdl_a"):
        with pytest.raises(BadInput, match="it has no order"):
            parse_filter({"op": op, "field": "email", "value": value}, PEOPLE, READABLE, redeem)


@pytest.mark.parametrize(("op", "value"), [("eq", "a@b.c"), ("ne", "x"), ("in", ["a@b.c"])])
def test_no_filter_compares_it_with_a_value_of_the_callers_choice(op: str, value: Any) -> None:
    asked = {"op": op, "field": "email", "value": value}
    with pytest.raises(BadInput, match="must be a handle") as refused:
        parse_filter(asked, PEOPLE, READABLE, redeem)
    assert "a@b.c" not in str(refused.value)


def test_a_filter_by_a_handle_is_one_by_its_value() -> None:
    clear = PEOPLE.model_copy(update={"groups": {}})
    asked = {"op": "eq", "field": "email"}
    found = parse_filter({**asked, "value": "hdl_a"}, PEOPLE, READABLE, redeem)
    assert found == parse_filter({**asked, "value": "a@b.c"}, clear, READABLE)
    with pytest.raises(BadInput, match="must be a handle"):
        parse_filter({**asked, "value": "hdl_a"}, PEOPLE, READABLE)
    assert parse_filter({"op": "is_null", "field": "email"}, PEOPLE, READABLE)


# how it is typed -----------------------------------------------------------------------------------

SENT: dict[str, Any] = {"title": "Dr", "email": "a@b.c", "debt": 5}


def test_a_tool_takes_a_value_or_a_handle() -> None:
    model = input_model(PEOPLE, handles=True)
    sent = {**SENT, "born": "hdl_x", "debt": "hdl_y", "word": "red", "life": None}
    parsed = model.model_validate_json(model(**SENT).model_copy(update=sent).model_dump_json())
    assert parsed.model_dump(mode="json", exclude_unset=True) == {**sent, "code": None}
    shown = model.model_json_schema()["properties"]
    handle = {
        "type": "string",
        "pattern": "^hdl_",
        "description": "A handle, in place of the value",
    }
    assert handle in shown["email"]["anyOf"]
    assert "anyOf" not in shown["title"]
    with pytest.raises(ValidationError):
        model.model_validate({**SENT, "debt": "x"})
    with pytest.raises(ValidationError):
        model.model_validate({**SENT, "email": "no mail"})


@pytest.mark.parametrize("model", [input_model, patch_model])
def test_a_handle_that_was_not_resolved_never_becomes_a_value(model: Any) -> None:
    with pytest.raises(ValidationError, match="unknown handle"):
        model(PEOPLE).model_validate({**SENT, "life": "hdl_x"})
    assert model(PEOPLE).model_validate({**SENT, "title": "hdl_x"})


def test_what_comes_out_is_a_handle_or_null() -> None:
    model = output_model(PEOPLE)
    assert model.model_validate({"id": ROW, "email": "hdl_a", "debt": None, "born": "hdl_b"})
    with pytest.raises(ValidationError):
        model.model_validate({"id": ROW, "debt": 5})


# what may be declared ----------------------------------------------------------------------------------


def declared(**changed: Any) -> Collection:
    told = {**PEOPLE.model_dump(mode="json"), **changed}
    return Collection.model_validate_json(TypeAdapter(Any).dump_json(told))


def test_the_group_that_everybody_reads_leaves_clear() -> None:
    with pytest.raises(ValidationError, match="the group general leaves clear"):
        declared(groups={"general": {"leaves_as": "handle"}})


def test_reference_rows_leave_clear() -> None:
    fields = {"code": {"kind": "string"}, "word": {"kind": "string", "group": "pii"}}
    rows = [{"code": "a", "word": "b"}]
    shape = {"fields": fields, "reference": True, "key": "code", "rows": rows}
    assert declared(**shape, groups={"pii": {"group_size_min": 2}}).handled == frozenset()
    with pytest.raises(ValidationError, match="does not belong to a reference collection"):
        declared(**shape, groups={"pii": {"leaves_as": "handle"}})


def test_a_group_of_which_nothing_is_said_is_not_declared() -> None:
    with pytest.raises(ValidationError, match="must say something"):
        declared(groups={"pii": {}})
    assert issubclass(DeclarationError, ValueError)
