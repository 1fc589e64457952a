"""What is made of a schema: fields, references, keys, indexes, tenants. Over schemas as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from control_plane.data.pulling.declaring import declare
from control_plane.data.pulling.draft import CollectionDraft, Pulled, Remark
from control_plane.data.pulling.report import plain_report, report_rows
from control_plane.data.pulling.schema import Column, Index, Link, Schema, Table
from control_plane.errors import BadInput

INTEGER, TEXT = sa.Integer(), sa.VARCHAR(50)


def column(name: str, found: TypeEngine[Any] = TEXT, **more: Any) -> Column:
    more.setdefault("nullable", False)
    return Column(name, found, **more)


def table(name: str, *columns: Column, **more: Any) -> Table:
    """A table with an integer key `id` and these columns."""
    more.setdefault("key", ("id",))
    return Table(name, (column("id", INTEGER), *columns), **more)


def pulled(*tables: Table, tenant_key: str | None = None) -> Pulled:
    return declare(Schema(tables), tenant_key=tenant_key)


def only(*tables: Table, **more: Any) -> CollectionDraft:
    """The draft of the first table."""
    found = {one.table: one for one in pulled(*tables, **more).collections}
    return found[tables[0].name]


def fields(draft: CollectionDraft) -> Mapping[str, Any]:
    declared: Mapping[str, Any] = draft.declared()["fields"]
    return declared


def test_a_surrogate_key_is_left_to_paybills_own_id() -> None:
    draft = only(table("city", column("name")))
    assert fields(draft) == {"name": {"kind": "string", "max_length": 50}}
    assert [one.part for one in draft.remarks.notes] == ["id"]


@pytest.mark.parametrize(
    ("key", "unique"),
    [
        (column("code", sa.CHAR(2)), {"kind": "string", "max_length": 2, "unique": True}),
        (column("year", INTEGER), {"kind": "integer", "unique": True}),
    ],
)
def test_a_natural_key_is_kept_and_unique(key: Column, unique: dict[str, object]) -> None:
    draft = only(Table("thing", (key, column("name")), key=(key.name,)))
    assert fields(draft)[key.name] == unique


def test_a_foreign_key_to_a_pulled_key_is_a_reference() -> None:
    city = table("City", column("name"))
    street = table(
        "street",
        column("city_id", INTEGER, nullable=True),
        links=(Link(("city_id",), "City", ("id",)),),
    )
    assert fields(only(street, city))["city_id"] == {
        "kind": "reference",
        "collection": "city",
        "nullable": True,
    }


def test_a_foreign_key_that_is_the_key_is_a_unique_reference() -> None:
    user = table("user", column("name"))
    profile = Table(
        "profile",
        (column("user_id", INTEGER),),
        key=("user_id",),
        links=(Link(("user_id",), "user", ("id",)),),
    )
    assert fields(only(profile, user)) == {
        "user_id": {"kind": "reference", "collection": "user", "unique": True}
    }


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (Link(("a",), None, ("id",)), "leads to another schema"),
        (Link(("a",), "elsewhere", ("id",)), "a table that is not pulled"),
        (Link(("a",), "city", ("name",)), "a column that is not the primary key"),
        (Link(("a", "b"), "city", ("id", "name")), "several columns"),
        (Link(("a",), "city", ()), "does not tell what it leads to"),
    ],
)
def test_a_foreign_key_that_is_no_reference_is_told_and_its_column_kept(
    link: Link, reason: str
) -> None:
    city = table("city", column("name"))
    draft = only(table("x", column("a", INTEGER), column("b", INTEGER), links=(link,)), city)
    assert fields(draft)["a"]["kind"] == "integer"
    assert any(reason in one.text for one in draft.remarks.not_mapped)


def test_a_table_without_a_field_is_not_declared_and_nothing_refers_to_it() -> None:
    empty = table("blob", column("content", sa.LargeBinary()))
    chain = table(
        "only_ref", column("blob_id", INTEGER), links=(Link(("blob_id",), "blob", ("id",)),)
    )
    found = pulled(chain, empty)
    assert [one.table for one in found.undeclared] == ["blob"]
    assert fields(found.collections[0])["blob_id"] == {"kind": "integer"}


def test_a_list_of_values_is_an_enum_with_its_default() -> None:
    draft = only(
        table(
            "deal",
            column("State", default="'new'::character varying"),
            column("active", sa.Boolean(), default="1"),
            column("size"),
            checks=("state IN ('new', 'won')", "active IN (0, 1)", "length(size) > 2"),
        )
    )
    assert fields(draft)["state"] == {
        "kind": "enum",
        "values": ["new", "won"],
        "description": "The column State.",
        "default": "new",
    }
    assert fields(draft)["active"] == {"kind": "boolean", "default": True}
    assert draft.remarks.not_mapped == (
        Remark("check", "a check that is no list of values of one column"),
    )


@pytest.mark.parametrize(
    ("found", "default"),
    [
        (TEXT, "now()"),
        (sa.VARCHAR(2), "'long'"),
        (INTEGER, "9007199254740993"),
        (sa.Numeric(3, 1), "1234.5"),
        (sa.Date(), "'2020-02-31'::date"),
        (sa.Uuid(), "'none'::uuid"),
        (sa.JSON(), "'{}'::json"),
    ],
)
def test_a_default_that_its_field_would_refuse_is_lost_and_said_so(
    found: TypeEngine[Any], default: str
) -> None:
    draft = only(table("x", column("a", found, default=default)))
    assert "default" not in fields(draft)["a"]
    assert draft.remarks.not_mapped == (Remark("a", "its default is no literal of the kind"),)


def test_no_default_is_shown_in_a_report() -> None:
    secret = "s3cret-default"
    found = pulled(table("x", column("a", default=f"f('{secret}')"), checks=(f"a <> '{secret}'",)))
    shown = [*map(str, report_rows(found.collections[0])), str(plain_report(found))]
    assert secret not in "".join(shown)


def test_a_generated_column_is_told_and_not_mapped() -> None:
    draft = only(table("x", column("a"), column("b", generated=True)))
    assert list(fields(draft)) == ["a"]
    assert draft.remarks.not_mapped == (Remark("b", "a generated column (proposal: computed)"),)


def test_the_65th_field_is_named_as_not_mapped() -> None:
    draft = only(table("wide", *(column(f"c{place}") for place in range(66))))
    assert len(fields(draft)) == 64
    assert [one.part for one in draft.remarks.not_mapped] == ["c64", "c65"]


def test_unique_columns_and_indexes_are_declared_once() -> None:
    draft = only(
        table(
            "x",
            column("Code"),
            column("a"),
            column("b"),
            uniques=(("Code",), ("a", "b")),
            indexes=(Index(("Code",), unique=True), Index(("b",)), Index(("b",)), Index(("id",))),
        )
    )
    assert fields(draft)["code"]["unique"] is True
    assert draft.indexes == (("a", "b"), ("b",))
    assert Remark("(a, b)", "unique together: here a field is unique alone") in (
        draft.remarks.not_mapped
    )


@pytest.mark.parametrize(
    "index",
    [
        Index(("a",), plain=False),
        Index(("a", "id")),
        Index(("note",)),
        Index(("long", "longer")),
        Index(("a", "b", "c", "d", "e")),
    ],
)
def test_an_index_that_cannot_be_is_told(index: Index) -> None:
    columns = [column(name) for name in "abcde"]
    columns += [column("note", sa.VARCHAR(2_000)), column("long", sa.VARCHAR(500))]
    columns += [column("longer", sa.VARCHAR(500))]
    draft = only(table("x", *columns, indexes=(index,)))
    assert draft.indexes == ()
    assert [one.part for one in draft.remarks.not_mapped] == [f"index ({', '.join(index.columns)})"]


def test_a_unique_text_that_is_too_long_or_no_string_is_told() -> None:
    columns = (column("long", sa.VARCHAR(700)), column("at", sa.DateTime(timezone=True)))
    draft = only(table("x", *columns, uniques=(("long",), ("at",))))
    assert not any("unique" in one for one in fields(draft).values())
    assert [one.part for one in draft.remarks.not_mapped] == ["long", "at"]


def shop(name: str, *columns: Column, **more: Any) -> Table:
    """A table of a shop: its key and its foreign keys carry the shop along."""
    links = (Link(("shop_id",), "shops", ("id",)), *more.pop("links", ()))
    key = {"key": ("shop_id", "id"), **more}
    return table(name, column("shop_id", INTEGER), *columns, links=links, **key)


def shops() -> tuple[Table, ...]:
    order = Link(("shop_id", "buyer_id"), "buyers", ("shop_id", "id"))
    return (
        shop("buyers", column("email"), uniques=(("shop_id", "email"),)),
        shop("orders", column("buyer_id", INTEGER), links=(order,)),
        table("shops", column("name")),
        table("countries", column("name")),
    )


@pytest.mark.parametrize("given", [None, "shop_id"])
def test_the_tenants_key_is_left_out_of_fields_keys_and_references(given: str | None) -> None:
    found = pulled(*shops(), tenant_key=given)
    tenant = found.tenant_key
    assert tenant is not None
    assert (tenant.column, tenant.table, tenant.tables_count, tenant.tables_total) == (
        "shop_id",
        "shops",
        2,
        3,
    )
    drafts = {one.table: one for one in found.collections}
    assert fields(drafts["buyers"]) == {
        "email": {"kind": "string", "max_length": 50, "group": "pii", "unique": True}
    }
    assert fields(drafts["orders"]) == {"buyer_id": {"kind": "reference", "collection": "buyers"}}
    assert "the tenants themselves" in drafts["shops"].remarks.notes[0].text
    assert "has no shop_id" in drafts["countries"].remarks.notes[0].text
    assert [one.part for one in drafts["buyers"].remarks.proposed] == ["shop_id", "email"]


def test_a_key_of_few_tables_or_of_another_word_is_not_proposed() -> None:
    few = (table("countries", column("name")), table("cities", column("name")))
    assert pulled(*shops(), *few).tenant_key is None
    city = table("city", column("name"))
    streets = [
        table(name, column("city_id", INTEGER), links=(Link(("city_id",), "city", ("id",)),))
        for name in ("a", "b", "c")
    ]
    assert pulled(city, *streets).tenant_key is None


def test_a_given_tenant_key_that_no_table_has_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        pulled(*shops(), tenant_key="nowhere")
    assert refused.value.field == "--tenant-key"


def test_comments_and_original_names_are_told_in_descriptions() -> None:
    draft = only(
        table(
            "OrderLine",
            column("UnitCount", INTEGER, comment="How\x07 many\u202e."),
            column("plain", comment="c" * 900),
            comment="Lines of an order.",
        )
    )
    assert draft.description == "Lines of an order. (table OrderLine)"
    assert fields(draft)["unit_count"]["description"] == "How many . (column UnitCount)"
    assert len(fields(draft)["plain"]["description"]) == 500
