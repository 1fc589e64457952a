"""The credential of a tenant's services through its life: made, held back, rotated, cut off at each boundary, gone."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from control_plane.handlers.registry import failpoint_names
from policies.gate import Gate
from tests.support.approval_template import make_template
from tests.support.approval_world import TENANT, Template
from tests.support.handing import ADD, Served, served
from tests.support.offboarding import offboard, unvouched
from tests.support.postgres import Postgres
from tests.support.slices import sliced
from tests.support.tenants import tenant_server, workspace

POINTS = [one for one in failpoint_names() if one.startswith("rotate_credentials.")]
UNDONE = ".undo_"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("handing"), "two_people")


@pytest.fixture
def life(tmp_path: Path, gate: Gate, template: Template, postgres: Postgres) -> Iterator[Served]:
    with ExitStack() as stack:
        logins = stack.enter_context(tenant_server(postgres))
        server = stack.enter_context(workspace(logins))
        yield from served(template, tmp_path, gate, server, "pooled")


def test_a_tenant_comes_with_a_credential_of_its_services(life: Served) -> None:
    known = life.handed
    assert (known.version, known.half, known.access) == (1, "a", "full")
    assert life.database is not None
    assert known.database_id == life.database.id
    assert life.halves == {"a": "full"}
    assert life.secrets == [known.secret] == [f"{TENANT}.a.1"]
    with life.service() as raw:
        assert raw.execute(ADD, [TENANT, "r1", "e"]).rowcount == 1
    assert stat.S_IMODE(life.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((life.folder / known.secret).stat().st_mode) == 0o600


@pytest.mark.long_but_one
@pytest.mark.parametrize(("access", "reads"), [("read_only", True), ("none", False)])
def test_a_suspension_holds_the_services_back_and_a_resumption_lets_them_go_on(
    life: Served, access: str, reads: bool
) -> None:
    bench = life.bench
    with life.service() as raw:
        bench.do("tenant_suspend", reason="operator", access=access)
        known = life.handed
        assert (known.version, known.access, known.half) == (2, access, "a")
        assert life.halves == {"a": access}
        with pytest.raises(psycopg.Error):
            raw.execute(ADD, [TENANT, "s1", "e"])
        if reads:
            assert raw.execute("SELECT count(*) FROM contacts").fetchone() == (0,)
    bench.do("tenant_resume", reason="operator")
    assert (life.handed.version, life.handed.access) == (3, "full")
    with life.service() as raw:
        assert raw.execute(ADD, [TENANT, "s1", "e"]).rowcount == 1


@pytest.mark.long
def test_a_suspension_that_fails_gives_the_services_back_what_they_had(life: Served) -> None:
    bench = life.bench
    run_id = bench.propose("tenant_suspend", reason="operator", access="none")
    assert bench.work(run_id, "suspend.close.done").state in ("compensated", "failed")
    assert (life.handed.access, life.halves) == ("full", {"a": "full"})
    with life.service() as raw:
        assert raw.execute(ADD, [TENANT, "s1", "e"]).rowcount == 1


def test_a_rotation_leaves_one_credential_and_it_is_another(life: Served) -> None:
    with life.service() as before:
        life.bench.do("database_rotate_credentials")
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
    known = life.handed
    assert (known.version, known.half) == (2, "b")
    assert life.secrets == [known.secret] == [f"{TENANT}.b.2"]
    assert life.halves == {"b": "full"}
    assert life.database is not None
    assert life.database.state == "available"
    life.bench.do("database_rotate_credentials")
    assert (life.handed.half, life.secrets) == ("a", [f"{TENANT}.a.3"])
    with life.service() as raw:
        assert raw.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.long
def test_the_former_credential_stands_until_the_services_follow(life: Served) -> None:
    waiting = life.with_overlap(600.0)
    run_id = waiting.bench.propose("database_rotate_credentials")
    first = life.handed
    waiting.bench.work_until_killed(run_id, "rotate_credentials.wait.dispatched")
    assert life.halves == {"a": "full", "b": "full"}
    with life.service(first) as former, life.service() as new:
        assert former.execute("SELECT 1").fetchone() == new.execute("SELECT 1").fetchone()
    follow(life)
    assert waiting.bench.work(run_id).state == "applied"
    assert life.halves == {"b": "full"}


def follow(life: Served) -> None:
    """Say that the version in force is followed."""
    from control_plane.store import rows
    from control_plane.store.database_tables import handover

    version = life.handed.version
    with life.bench.world.store.write() as connection:
        rows.change(connection, handover, handover.c.tenant == TENANT, acked_version=version)


@pytest.mark.long_but_one
@pytest.mark.parametrize("point", sliced(POINTS, every=17))
def test_a_rotation_that_is_cut_off_anywhere_leaves_one_credential_that_stands(
    life: Served, point: str
) -> None:
    bench = life.bench
    run_id = bench.propose("database_rotate_credentials")
    # What is irreversible is never undone: it fails in the step before.
    fail = ("rotate_credentials.wait.done",) if UNDONE in point else ()
    bench.work_until_killed(run_id, point, *fail)
    with life.service() as raw:
        assert raw.execute("SELECT 1").fetchone() == (1,)
    run = bench.work(run_id)
    assert run.state in ("applied", "compensated"), run
    assert life.halves == {life.handed.half: "full"}
    assert life.secrets == [life.handed.secret]
    assert life.database is not None
    assert life.database.state == "available"
    # What the services were told is what leaves say that they were.
    assert unvouched(bench) == []
    with life.service() as raw:
        assert raw.execute(ADD, [TENANT, "k", "e"]).rowcount == 1


@pytest.mark.long
def test_no_password_is_in_a_row_of_ours(life: Served) -> None:
    life.bench.do("database_rotate_credentials")
    secret = (life.folder / life.handed.secret).read_text()
    assert len(secret) >= 40
    held = [path for path in life.bench.world.workspace.state.rglob("*") if path.is_file()]
    assert held
    assert not [path.name for path in held if secret.encode() in path.read_bytes()]


def test_on_files_there_is_nothing_to_rotate(bench: object) -> None:
    assert bench.refused("database_rotate_credentials") == "no_logins"  # type: ignore[attr-defined]


@pytest.mark.long
def test_a_suspended_tenant_is_not_rotated(life: Served) -> None:
    life.bench.do("tenant_suspend", reason="operator", access="read_only")
    assert life.bench.refused("database_rotate_credentials") == "tenant_state"


@pytest.mark.long
def test_offboarding_takes_the_credential_and_restoring_makes_another(life: Served) -> None:
    offboard(life.bench)
    known = life.handed
    assert (known.access, known.half, known.secret) == ("none", "", "")
    assert life.secrets == []
    run = life.bench.do("tenant_restore")
    assert run.state == "applied"
    assert (life.handed.half, life.handed.access) == ("a", "full")
    with life.service() as raw:
        assert raw.execute("SELECT 1").fetchone() == (1,)
