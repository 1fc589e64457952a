"""`paybill catalog plan`: what applying a folder would change, and for whom. Applies nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from typer.testing import CliRunner

from control_plane.domain.approval_record import Approval
from control_plane.domain.canonical import Json
from control_plane.domain.run_record import Run as RunRecord
from control_plane.store import rows, tables
from server.catalog import load
from server.cli.app import app
from tests.conftest import MakeHouse
from tests.server.cli.conftest import ROW_POLICY, Run
from tests.support.house import House

NOW, LATER = "2030-01-01T09:00:00.000000Z", "2030-01-02T09:00:00.000000Z"
INVOICES = """\
name: invoices
description: Invoices.
fields:
  title: {kind: string}
  iban: {kind: string, group: pii}
verbs: [query, get, create]
"""


def planned(run: Run, folder: Path) -> dict[str, Any]:
    ran = run("catalog", "plan", folder, "--json")
    assert ran.exit_code == 0, ran.output
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def rights(report: dict[str, Any]) -> set[tuple[str, ...]]:
    columns = ("role", "kind", "action", "was", "becomes", "cases")
    return {tuple(one[column] for column in columns) for one in report["rights"]}


def test_what_is_applied_already_is_nothing_to_do(run: Run, ruled: House, folder: Path) -> None:
    ran = run("catalog", "plan")
    assert (ran.exit_code, ran.stdout) == (0, "Nothing to do: this catalog is applied.\n")
    report = planned(run, folder)
    assert report["nothing_to_do"] is True
    assert report["before"] == report["after"]
    assert report["before"]["catalog"] == load(ruled.workspace.catalog).digest
    assert not any(report[part] for part in ("moves", "plans", "rights", "voided"))
    assert report["statements"] == {"sqlite": []}


@pytest.mark.long
def test_who_gains_and_who_loses_is_told_with_the_cases(run: Run, folder: Path) -> None:
    policy = folder / "policies" / "rows_contacts.yaml"
    text = ROW_POLICY.replace('R.attr.status == "lead"', 'R.attr.status == "former"')
    text = text.replace(
        "actions: [read]\n      effect: EFFECT_ALLOW\n      roles: [support]",
        "actions: [read, update]\n      effect: EFFECT_ALLOW\n      roles: [support, billing]",
    )
    policy.write_text(text)
    ran = run("catalog", "plan", folder)
    assert ran.exit_code == 0, ran.output
    told = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in ran.stdout.splitlines()
        if "rows_contacts" in line
    ]
    former, lead = "status former (2 of 6)", "status lead (2 of 6)"
    held = "status former; but the kind record denies it (2 of 6)"
    assert told == [
        ["billing", "rows_contacts", "read, update", "denied", "allowed", held],
        ["support", "rows_contacts", "read", "allowed", "denied", lead],
        ["support", "rows_contacts", "read, update", "denied", "allowed", former],
    ]
    assert "Collections: nothing changes." in ran.stdout


@pytest.mark.sweep
def test_a_new_collection_is_a_gain_of_those_who_may_use_it(run: Run, folder: Path) -> None:
    (folder / "collections" / "invoices.yaml").write_text(INVOICES)
    (folder / "policies" / "rows_contacts.yaml").unlink()
    report = planned(run, folder)
    found = rights(report)
    open_ = "member, access mode full, not cordoned, tenant state active"
    read = "member, access mode full or read_only"
    new = "not declared"
    assert ("support", "record invoices", "create", new, "allowed", open_) in found
    assert ("support", "record invoices", "query", new, "allowed", read) in found
    assert ("platform_admin", "record invoices", "read_pii", new, "allowed", read) in found
    assert not {one for one in found if one[2] in ("delete", "bulk_delete") and "record" in one[1]}
    assert not {one for one in found if one[0] in ("viewer", "billing")}
    # Rows that have no policy any more are everybody's who may use the collection.
    free = "allowed (no row rules)"
    assert ("support", "rows_contacts", "create", "denied", free, "always") in found
    assert ("support", "rows_contacts", "delete", "denied", free, "always") not in found
    assert [one["kind"] for one in report["moves"]] == ["add_collection"]
    assert any("CREATE TABLE" in one["text"] for one in report["statements"]["sqlite"])


@pytest.mark.sweep
def test_a_field_in_another_group_is_a_gain_and_a_loss_of_sight(run: Run, folder: Path) -> None:
    contacts = folder / "collections" / "contacts.yaml"
    text = contacts.read_text().replace("    group: pii\n", "")
    contacts.write_text(text.replace("  full_name:\n", "  full_name:\n    group: pii\n"))
    found = rights(planned(run, folder))
    some, none = "seen in some rows", "hidden"
    gained, lost = "its group: pii before, general after", "its group: general before, pii after"
    assert ("support", "contacts.email", "read", none, some, gained) in found
    assert ("support", "contacts.full_name", "read", some, none, lost) in found
    assert {one[0] for one in found} == {"support"}


@pytest.mark.sweep
def test_a_renamed_field_is_one_that_goes_and_one_that_comes(run: Run, folder: Path) -> None:
    contacts = folder / "collections" / "contacts.yaml"
    contacts.write_text(contacts.read_text().replace("full_name", "whole_name"))
    report = planned(run, folder)
    assert [one["phase"] for one in report["moves"]].count("refused") > 0
    moves = {(one["kind"], one["field"]): one for one in report["moves"]}
    assert moves["drop_field", "full_name"]["loses_data"] is True
    assert ("rename", "whole_name") in moves
    assert report["statements"] == {"sqlite": []}


@pytest.fixture
def waiting(ruled: House, tmp_path: Path) -> Iterator[str]:
    """A run of the applied catalog's day that waits for its approval."""
    applied = load(ruled.workspace.catalog)
    bundle = applied.bundle(tmp_path / "bundles")
    plan: dict[str, Json] = {"catalog": applied.digest, "bundle": bundle.version, "parts": {}}
    record = RunRecord(
        id="run-1",
        call_id="call-1",
        principal="alice",
        actor="bot",
        grant_id="grant-1",
        tenant="acme",
        kind="onboard",
        tool="tenant_onboard",
        command={},
        state="awaiting_approval",
        as_of=NOW,
        seed="seed",
        dry_run=False,
        created_at=NOW,
        updated_at=NOW,
        plan=plan,
        approval_id="approval-1",
    )
    approval = Approval(
        id="approval-1",
        run_id="run-1",
        tenant="acme",
        requester="alice",
        requester_actor="bot",
        rule="own_hand",
        plan_digest="d" * 64,
        state="pending",
        created_at=NOW,
        expires_at=LATER,
    )
    with ruled.store() as store, store.write() as connection:
        rows.put(connection, tables.run, record)
        rows.put(connection, tables.approval, approval)
    yield record.id
    with ruled.store() as store, store.write() as connection:
        connection.execute(delete(tables.run))
        connection.execute(delete(tables.approval))


@pytest.mark.long
def test_words_alone_change_no_right_but_void_a_pending_approval_which_is_named(
    run: Run, folder: Path, waiting: str
) -> None:
    contacts = folder / "collections" / "contacts.yaml"
    contacts.write_text(contacts.read_text().replace("description: ", "description: All ", 1))
    ran = run("catalog", "plan", folder)
    assert ran.exit_code == 0, ran.output
    assert "declared otherwise" in ran.stdout
    assert "Who gains or loses what: nothing changes." in ran.stdout
    (line,) = [one for one in ran.stdout.splitlines() if waiting in one]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells == [waiting, "approval-1", "acme", "onboard", "awaiting_approval", "alice"]


def test_an_approval_holds_as_long_as_nothing_changes(run: Run, folder: Path, waiting: str) -> None:
    assert planned(run, folder)["voided"] == []


@pytest.mark.long
def test_a_folder_with_mistakes_is_not_compared(run: Run, folder: Path) -> None:
    (folder / "plans.yaml").write_text("plans: [")
    ran = run("catalog", "plan", folder)
    assert ran.exit_code == 1
    assert ran.stdout == "plans.yaml:1: must be valid YAML\n"


@pytest.mark.long
def test_on_postgres_the_statements_are_those_of_postgres(
    workspace: MakeHouse, tmp_path: Path
) -> None:
    house = workspace(store="postgres")
    folder = Path(shutil.copytree(house.workspace.catalog, tmp_path / "catalog"))
    contacts = folder / "collections" / "contacts.yaml"
    text = contacts.read_text().replace("max_length: 200", "max_length: 300", 1)
    contacts.write_text(text)
    ran = CliRunner().invoke(
        app, ["catalog", "plan", str(folder)], env={**house.environment, "COLUMNS": "200"}
    )
    assert ran.exit_code == 0, ran.output
    assert "Statements on postgresql, expand:\n  ALTER TABLE contacts" in ran.stdout
    assert "Who gains or loses what: nothing changes." in ran.stdout
