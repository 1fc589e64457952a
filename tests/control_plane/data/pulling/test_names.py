"""How names of tables and columns become names of ours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.data.pulling.groups import proposed_group
from control_plane.data.pulling.names import collection_names, field_names, snake_case, told


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("CustomerId", "customer_id"),
        ("CUSTOMER_ID", "customer_id"),
        ("HTTPServerURL", "http_server_url"),
        ("Order Details", "order_details"),
        ("unit-price ($)", "unit_price"),
        ("Straße 2Go", "strae_2_go"),
        ("日本", ""),
    ],
)
def test_a_name_is_put_into_small_letters_and_underscores(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_names_that_collide_are_numbered_and_a_name_that_fits_is_kept() -> None:
    assert field_names(["Name", "NAME", "name"]) == {
        "Name": "name_2",
        "NAME": "name_3",
        "name": "name",
    }


def test_names_of_paybill_get_a_suffix() -> None:
    found = field_names(["id", "TenantId", "version", "created_at", "version_source"])
    assert found == {
        "id": "id_source",
        "TenantId": "tenant_id_source",
        "version": "version_source_2",
        "created_at": "created_at_source",
        "version_source": "version_source",
    }


def test_reserved_prefixes_and_digits_are_put_behind_a_letter() -> None:
    assert collection_names(["pg_stat", "2fa", "***"]) == {
        "pg_stat": "x_pg_stat",
        "2fa": "x_2fa",
        "***": "table",
    }


def test_a_comment_becomes_one_line_without_what_steers_a_reader() -> None:
    assert told("a\x00b\n\tc\u202ed\u2028 e") == "a b c d e"
    assert len(told("x" * 600)) == 500


@given(st.lists(st.text(max_size=70), max_size=12, unique=True))
def test_any_names_become_distinct_names_that_can_be_declared(names: list[str]) -> None:
    for made, chars_max in ((field_names(names), 48), (collection_names(names), 40)):
        assert list(made) == names
        assert len(set(made.values())) == len(names)
        for name in made.values():
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
            assert len(name) <= chars_max


@pytest.mark.parametrize(
    ("column", "comment", "kind", "group"),
    [
        ("EmailAddress", "", "string", "pii"),
        ("first_name", "", "string", "pii"),
        ("date_of_birth", "", "date", "pii"),
        ("client_ip", "", "string", "pii"),
        ("contact", "personal data of the buyer", "text", "pii"),
        ("password_hash", "", "string", "secret"),
        ("ApiKey", "", "string", "secret"),
        ("refresh_token", "", "text", "secret"),
        ("email_verified", "", "boolean", None),
        ("emailed_at", "", "timestamp", None),
        ("shipping", "", "string", None),
        ("product_name", "", "string", None),
        ("description", "", "text", None),
    ],
)
def test_a_group_is_proposed_by_words_and_not_by_parts_of_them(
    column: str, comment: str, kind: str, group: str | None
) -> None:
    assert proposed_group(column, comment, kind) == group
