"""What a stack says of its database server is read strictly, and an error names the field and no value."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import Failed
from control_plane.provisioning.stack_database import database_of_stack

SAID: Final = {
    "engine": "postgres",
    "model": "silo",
    "name": "acme",
    "host": "acme.abc123.eu-central-1.rds.example.com",
    "port": 5432,
    "secret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:pb-acme-AbCdEf",
}


def refused(outputs: dict[str, Any]) -> str:
    """How outputs are refused."""
    with pytest.raises(Failed) as told:
        database_of_stack(outputs)
    assert told.value.code == "stack_output"
    return str(told.value)


@pytest.mark.parametrize("host", [SAID["host"], "10.1.2.3", "::1", "fd00::12:ab", "localhost"])
def test_a_server_is_read(host: str) -> None:
    found = database_of_stack({"database": {**SAID, "host": host}, "labels": {}})
    assert (found.host, found.port, found.at) == (host, 5432, f"{host}:5432")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("engine", "sqlite"),
        ("engine", None),
        ("model", "pooled"),
        ("name", "a b"),
        ("name", ""),
        ("host", "/var/run/postgresql"),
        ("host", "one.example,two.example"),
        ("host", "user@host"),
        ("host", "host:5432"),
        ("host", "host?sslmode=disable"),
        ("host", ""),
        ("host", "h\n"),
        ("port", "5432"),
        ("port", 0),
        ("port", 65_536),
        ("port", True),
        ("secret", ""),
        ("secret", "with space"),
        ("secret", "s" * 513),
    ],
)
def test_a_field_of_another_form_is_named_and_its_value_is_not(field: str, value: object) -> None:
    told = refused({"database": {**SAID, field: value}})
    assert told.startswith(f"The stack's output database.{field} ")
    if isinstance(value, str) and len(value) > 1:
        assert value not in told


@pytest.mark.parametrize("field", sorted(SAID))
def test_a_field_that_is_missing_is_named(field: str) -> None:
    said = {name: value for name, value in SAID.items() if name != field}
    assert refused({"database": said}) == f"The stack's output database.{field} is missing."


def test_what_is_no_such_object_is_refused_whole() -> None:
    assert refused({}) == "The stack's output database is missing."
    for wrong in (None, "x", [SAID], 1):
        assert refused({"database": wrong}).startswith("The stack's output database ")
    assert "pl4nted" not in refused({"database": {**SAID, "pl4nted": 1}})


@given(field=st.sampled_from(sorted(SAID)), value=st.text(max_size=80))
def test_no_text_gets_into_an_address_that_could_say_more_than_where(
    field: str, value: str
) -> None:
    try:
        found = database_of_stack({"database": {**SAID, field: value}})
    except Failed:
        return
    assert not set(found.host) & set("/@?,# \n\t=&%\\")
    assert not set(found.name) & set("/@?,# \n\t=&%\\'\"")
