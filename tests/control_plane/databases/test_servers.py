"""Servers by name: one that is declared anew is opened anew, and one of a stack that never was has nothing on it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from control_plane.databases.servers import NamedServers
from control_plane.databases.sqlite import SqliteDatabases
from control_plane.domain.home import (
    DeclaredServerName,
    Home,
    ServerName,
    is_stack_server,
    stack_server,
)
from control_plane.errors import NotFound, Unavailable

TENANT: Final = "acme"
HERE: Final = stack_server(TENANT)
TENANTS = st.from_regex(r"[a-z][a-z0-9-]{1,38}[a-z0-9]", fullmatch=True)


class Served:
    """Which servers there are, as files of a folder; each is opened under a count."""

    def __init__(self, folder: Path) -> None:
        self.stamps: dict[str, int] = {}
        self.begun: set[str] = set()
        self.opened: list[str] = []
        self._folder = folder
        self.main = SqliteDatabases(folder / "main", busy_timeout_ms=1_000)
        self.servers = NamedServers(
            self.main,
            lambda: tuple(self.stamps),
            self._open,
            self.stamps.get,
            self.begun.__contains__,
        )

    def _open(self, name: str) -> SqliteDatabases:
        self.opened.append(name)
        return SqliteDatabases(self._folder / name, busy_timeout_ms=1_000)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_a_server_is_opened_once_for_as_long_as_it_is_the_same(served: Served) -> None:
    served.stamps["pg"] = 1
    first = served.servers.at(Home("silo", "pg"))
    assert served.servers.at(Home("pooled", "pg")) is first
    assert served.servers.at(Home("silo", "pg", 1)) is not first
    assert served.opened == ["pg"]
    served.stamps["pg"] = 2
    assert served.servers.at(Home("silo", "pg")) is not first
    assert served.opened == ["pg", "pg"]


def test_a_server_that_is_declared_no_more_is_unknown(served: Served) -> None:
    served.stamps["pg"] = 1
    served.servers.at(Home("silo", "pg"))
    del served.stamps["pg"]
    with pytest.raises(Unavailable) as told:
        served.servers.at(Home("silo", "pg"))
    assert told.value.code == "server_unknown"


def test_on_a_stacks_server_that_was_not_begun_nothing_stands(served: Served) -> None:
    engine = served.servers.at(Home("silo", HERE))
    assert not engine.exists(TENANT, "silo")
    assert engine.found() == []
    assert engine.probe(TENANT, "silo", ()) == "absent"
    assert engine.open_at(TENANT, "silo") is None
    engine.drop(TENANT, "silo", 1)
    with pytest.raises(NotFound):
        engine.fence(TENANT, "silo", 1, open=False)
    with pytest.raises(NotFound):
        engine.reading(TENANT, "silo")
    with pytest.raises(Unavailable) as told:
        engine.create(TENANT, "silo", (), 1)
    assert told.value.code == "server_unknown"
    # A trial is made where there is a server.
    with engine.scratch(TENANT, "silo", ()) as connection:
        assert not connection.closed
    # Once it is begun and not there, nobody says so.
    served.begun.add(HERE)
    with pytest.raises(Unavailable):
        served.servers.at(Home("silo", HERE))
    served.stamps[HERE] = 1
    served.servers.at(Home("silo", HERE)).create(TENANT, "silo", (), 1)
    assert served.servers.at(Home("silo", HERE)).exists(TENANT, "silo")


@given(one=TENANTS, other=TENANTS)
def test_each_tenant_has_a_name_of_its_own_that_no_operator_can_give(one: str, other: str) -> None:
    name = stack_server(one)
    assert TypeAdapter(ServerName).validate_python(name) == name
    assert len(name) <= 40
    assert is_stack_server(name)
    assert (stack_server(other) == name) is (one == other)
    with pytest.raises(ValueError, match="pattern"):
        TypeAdapter(DeclaredServerName).validate_python(name)
