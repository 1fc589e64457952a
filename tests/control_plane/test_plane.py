"""The plane acts with a permit that fits and is unused, and with no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from control_plane.commands import CancelRun, Command, CreateRecord
from control_plane.domain.permit import Permit
from control_plane.errors import Refused
from control_plane.handlers.handler import Ports
from control_plane.plane import Plane
from server.ids import RandomIds
from tests.support.house import build_house

COMMAND = CancelRun(run_id="a" * 32)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[Ports]:
    from server.wiring import face_ports

    house = build_house(tmp_path_factory.mktemp("plane"), cerbos_binary)
    with house.store() as store:
        yield face_ports(house.workspace, house.settings, store)


@pytest.fixture
def plane(ports: Ports) -> Plane:
    return Plane(ports)


def issue(plane: Plane, connection: Connection, command: Command = COMMAND) -> Permit:
    return plane.issue(
        connection,
        permit_id=RandomIds().new(),
        command=command,
        tenant="acme",
        run_id="b" * 32,
        step="change",
        decision_id="decision",
        facts_digest="0" * 64,
    )


def test_a_permit_is_consumed_once(plane: Plane, ports: Ports) -> None:
    with ports.store.write() as connection:
        permit = issue(plane, connection)
        plane.consume(connection, permit, COMMAND)
        with pytest.raises(Refused, match=r"used up|does not fit"):
            plane.consume(connection, permit, COMMAND)


def test_a_permit_that_nobody_issued_is_refused(plane: Plane, ports: Ports) -> None:
    with ports.store.write() as connection:
        forged = issue(plane, connection).model_copy(update={"id": RandomIds().new()})
        with pytest.raises(Refused) as refused:
            plane.consume(connection, forged, COMMAND)
    assert refused.value.code == "permit_invalid"


@pytest.mark.parametrize("name", sorted(set(Permit.model_fields) - {"consumed_at"}))
def test_a_permit_with_any_field_altered_is_refused(plane: Plane, ports: Ports, name: str) -> None:
    with ports.store.write() as connection:
        altered = issue(plane, connection).model_copy(update={name: "f" * 32})
        with pytest.raises(Refused):
            plane.consume(connection, altered, COMMAND)


@given(run_id=st.text("0123456789abcdef", min_size=32, max_size=32))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_permit_for_one_command_does_not_let_another_pass(
    plane: Plane, ports: Ports, run_id: str
) -> None:
    other = CancelRun(run_id=run_id)
    if other == COMMAND:
        return
    with ports.store.write() as connection:
        permit = issue(plane, connection)
        with pytest.raises(Refused):
            plane.consume(connection, permit, other)


def test_a_permit_for_a_command_of_another_kind_with_the_same_values_is_refused(
    plane: Plane, ports: Ports
) -> None:
    class Impostor(Command):
        """The same values under another name."""

        run_id: str

    with ports.store.write() as connection:
        permit = issue(plane, connection)
        with pytest.raises(Refused):
            plane.consume(connection, permit, Impostor(run_id="a" * 32))


def test_a_consumption_that_is_rolled_back_leaves_the_permit_unused(
    plane: Plane, ports: Ports
) -> None:
    with ports.store.write() as connection:
        permit = issue(plane, connection)

    class Fault(Exception):
        pass

    def consume_and_fail() -> None:
        with ports.store.write() as connection:
            plane.consume(connection, permit, COMMAND)
            raise Fault

    with pytest.raises(Fault):
        consume_and_fail()
    with ports.store.write() as connection:
        plane.consume(connection, permit, COMMAND)


def test_two_commands_that_differ_in_one_value_have_two_digests() -> None:
    one = CreateRecord(tenant="acme", collection="contacts", values={"a": 1})
    two = CreateRecord(tenant="acme", collection="contacts", values={"a": "1"})
    assert one.digest() != two.digest()
