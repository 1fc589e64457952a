"""`paybill catalog apply` over a real worker: asked for, approved, in force on the very next call. Not each fault on the way."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.handlers.catalog_in_force import applied_digest, digest_before
from control_plane.store import tables
from server.approving import Question
from server.catalog import load
from server.rendering import render
from server.wiring import Face
from tests.support.approver import approve, enrol
from tests.support.desks import run_command
from tests.support.forked import Forked, Start, start_paybill
from tests.support.house import House, Token, build_house, fresh_key
from tests.support.onboarding import ask, contact, onboard
from tests.support.waiting import until
from tests.support.workers import running_worker, stop_process

OWNER, TENANT = "olga", "acme"
COMMAND_S = 120.0
# What a switch waits for, so that no call of before is under way.
LIMITS = {"call_deadline_s": "8"}
INVOICES = "name: invoices\ndescription: Invoices.\nfields:\n  title: {kind: string}\n"
NICKNAME = "  nickname:\n    kind: string\n    max_length: 40\n    nullable: true\n"
Changed = Callable[[Callable[[Path], None]], Path]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> Iterator[House]:
    """A workspace with a worker, an approver and a tenant; each test goes on from the catalog in force."""
    folder = tmp_path_factory.mktemp("applied")
    made = build_house(folder, cerbos_binary, limits=LIMITS)
    with running_worker(made):
        enrol(made, OWNER)
        with made.face(made.issue("operator", TENANT, actor="founder")) as face:
            onboard(face, TENANT)
        yield made


@pytest.fixture
def faulty(tmp_path: Path, cerbos_binary: Path) -> Iterator[House]:
    """A workspace without tenants, whose worker fails at its first contraction."""
    made = build_house(tmp_path / "faulty", cerbos_binary, limits=LIMITS)
    with running_worker(made, "--failpoints", "apply_catalog.contract.dispatched:1:raise"):
        enrol(made, OWNER)
        yield made


@pytest.fixture(scope="module")
def owner(house: House) -> Token:
    """A human's token that may apply a catalog, and approve it."""
    return owner_of(house)


@pytest.fixture
def changed(house: House, tmp_path: Path) -> Changed:
    """`changed(change)`: a copy of the catalog in force, with a change."""

    def one(change: Callable[[Path], None]) -> Path:
        kept = house.workspace.catalogs / in_force(house)[0]
        folder = Path(shutil.copytree(kept, tmp_path / "catalog"))
        change(folder)
        assert load(folder).digest != kept.name, "nothing was changed"
        return folder

    return one


def owner_of(house: House) -> Token:
    return house.issue("platform_admin,approver", "*", principal=OWNER, actor=None)


def in_force(house: House) -> tuple[str, str | None]:
    """The digest in force, and the one before while databases may serve it."""
    with house.store() as store, store.read() as connection:
        return str(applied_digest(connection)), digest_before(connection)


def pending(house: House) -> str | None:
    """The approval that waits, if one does."""
    table = tables.approval
    with house.store() as store, store.read() as connection:
        waiting = select(table.c.id).where(table.c.state == "pending")
        found: str | None = connection.execute(waiting).scalar()
    return found


@contextmanager
def applying(house: House, token: Token, folder: Path, *options: str) -> Generator[Forked]:
    """`paybill catalog apply` as a child, which is ended with the block. Its log: apply.log."""
    words = ("catalog", "apply", str(folder), "--token-file", str(token.file), *options)
    log = folder.parent / "apply.log"
    log.unlink(missing_ok=True)
    child = start_paybill(Start(words, house.environment, house.workspace.root, log))
    try:
        yield child
    finally:
        stop_process(child)


def told(log: Path) -> bool:
    """Whether it says by which command it is approved."""
    return log.exists() and "paybill approvals approve" in log.read_text()


def carried_out(house: House, owner: Token, folder: Path) -> tuple[int, str, Question]:
    """Apply a folder and approve it: the command's exit code, what it said, what was approved."""
    log = folder.parent / "apply.log"
    with applying(house, owner, folder) as child:

        def asked() -> str | None:
            if child.poll() is not None:
                pytest.fail(f"it asked for no approval:\n{log.read_text()}")
            return pending(house) if told(log) else None

        approval_id = until(asked, "an approval waits", COMMAND_S)
        question = approve(house, owner, approval_id)
        code = child.wait(COMMAND_S)
    said = log.read_text()
    assert f"Approve it with: paybill approvals approve {approval_id}\n" in said
    return code, said, question


def contact_made(face: Face, **values: Any) -> dict[str, Any]:
    return ask(
        face,
        "record_create",
        tenant=TENANT,
        collection="contacts",
        values=contact(**values),
        idempotency_key=fresh_key(),
    )


def add_field_and_collection(folder: Path) -> None:
    contacts = folder / "collections" / "contacts.yaml"
    text = contacts.read_text()
    contacts.write_text(text.replace("  status:\n", NICKNAME + "  status:\n", 1))
    (folder / "collections" / "invoices.yaml").write_text(INVOICES)


def add_parcels(folder: Path) -> None:
    (folder / "collections" / "parcels.yaml").write_text(INVOICES.replace("invoices", "parcels"))


@pytest.mark.long
def test_what_is_approved_is_there_on_the_next_call_of_a_face_that_was_open_before(
    house: House, owner: Token, changed: Changed
) -> None:
    folder = changed(add_field_and_collection)
    before, _ = in_force(house)
    agent = house.issue("operator,support", TENANT)
    typed = replace(house, collection_tools="each")
    with house.face(agent) as face, typed.face(agent) as other:
        assert "invoices_create" not in {tool.name for tool in other.front.listed()}
        assert contact_made(face)["outcome"] == "done"

        code, said, question = carried_out(house, owner, folder)

        assert code == 0, said
        assert f"Applied: {load(folder).digest}" in said
        assert in_force(house) == (load(folder).digest, None)
        assert "invoices_create" in {tool.name for tool in other.front.listed()}
        made = contact_made(face, nickname="Countess")
        assert made["outcome"] == "done", made
        assert made["result"]["record"]["nickname"] == "Countess"
    shown = render(question)
    assert shown[1] == "  apply_catalog of the whole workspace"
    assert any(line.startswith("  invoices (expand, add collection)") for line in shown)
    assert f"Catalog before: {before}" in shown
    again = run_command(house, "catalog", "apply", str(folder))
    assert again == (0, "Nothing to do: this catalog is applied.\n")
    verified = run_command(house, "audit", "verify")
    assert verified[0] == 0, verified[1]


@pytest.mark.sweep
def test_who_stops_waiting_and_asks_again_follows_the_same_run(
    house: House, owner: Token, changed: Changed
) -> None:
    def change(folder: Path) -> None:
        (folder / "collections" / "visits.yaml").write_text(INVOICES.replace("invoices", "visits"))

    folder = changed(change)
    words = ("catalog", "apply", str(folder), "--token-file", str(owner.file))
    code, said = run_command(house, *words, "--no-wait", "--json")
    begun = json.loads(said)
    assert (code, begun["outcome"]) == (0, "running")
    log = folder.parent / "apply.log"
    with applying(house, owner, folder) as child:
        until(lambda: told(log), "it says what to do", COMMAND_S)
        child.send_signal(signal.SIGINT)
        assert child.wait(COMMAND_S) == 130
    assert f"Run {begun['run_id']} goes on: the same command follows it." in log.read_text()
    code, said, _ = carried_out(house, owner, folder)
    assert code == 0, said
    assert said.startswith(f"Run {begun['run_id']}\n")


@pytest.mark.sweep
def test_a_dry_run_shows_the_plan_and_changes_nothing(
    house: House, owner: Token, changed: Changed
) -> None:
    def change(folder: Path) -> None:
        (folder / "collections" / "orders.yaml").write_text(INVOICES.replace("invoices", "orders"))

    folder = changed(change)
    stands = in_force(house)
    token = ("--token-file", str(owner.file))
    code, said = run_command(house, "catalog", "apply", str(folder), "--dry-run", *token)
    assert code == 0, said
    assert "  orders (expand, add collection)" in said
    assert in_force(house) == stands
    assert pending(house) is None


@pytest.mark.sweep
def test_rows_that_do_not_fit_stop_it_before_anything_is_in_force(
    house: House, owner: Token, changed: Changed
) -> None:
    def change(folder: Path) -> None:
        contacts = folder / "collections" / "contacts.yaml"
        text = contacts.read_text()
        contacts.write_text(text.replace("max_length: 200", "max_length: 3", 1))

    folder = changed(change)
    stands = in_force(house)
    agent = house.issue("operator,support", TENANT)
    with house.face(agent) as face:
        assert contact_made(face, full_name="Ada Lovelace")["outcome"] == "done"
        code, said, _ = carried_out(house, owner, folder)
        assert (code, in_force(house)) == (1, stands), said
        assert "rows_do_not_fit" in said
        assert contact_made(face, full_name="Grace Hopper")["outcome"] == "done"


@pytest.mark.sweep
def test_what_a_failed_contraction_leaves_is_finished_by_the_same_command(
    faulty: House, tmp_path: Path
) -> None:
    owner, before = owner_of(faulty), in_force(faulty)[0]
    folder = Path(shutil.copytree(faulty.workspace.catalog, tmp_path / "catalog"))
    add_parcels(folder)
    code, said, _ = carried_out(faulty, owner, folder)
    assert code == 1
    assert "paybill: residue: " in said
    assert "the same command finishes what is left" in said
    assert in_force(faulty) == (load(folder).digest, before)

    words = ("catalog", "apply", "--token-file", str(owner.file))
    other = run_command(faulty, *words, str(faulty.workspace.catalog), "--json")
    assert (other[0], json.loads(other[1])["code"]) == (1, "catalog_half_applied")

    code, said, _ = carried_out(faulty, owner, folder)
    assert (code, in_force(faulty)) == (0, (load(folder).digest, None)), said


@pytest.mark.parametrize(
    ("roles", "tenants", "actor", "code"),
    [
        ("operator,support", TENANT, None, "tool_not_listed"),
        ("platform_admin", "*", "bot", "agents_apply_no_catalog"),
    ],
)
@pytest.mark.sweep
def test_who_may_not_apply_a_catalog_is_told_so(
    house: House, changed: Changed, roles: str, tenants: str, actor: str | None, code: str
) -> None:
    folder = changed(add_parcels)
    token = house.issue(roles, tenants, principal="mallory", actor=actor)
    words = ("catalog", "apply", str(folder), "--token-file", str(token.file), "--json")
    ended, said = run_command(house, *words)
    assert ended == 1
    assert json.loads(said)["code"] == code
    assert pending(house) is None
