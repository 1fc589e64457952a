"""`paybill catalog check`: every mistake in one go, by line, and never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.catalog_mistakes import EDITED
from server.cli.app import app
from server.policy_mistakes import POLICIES
from tests.server.cli.conftest import ROW_POLICY, Run
from tests.support.house import House

INVOICE = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: contract
  version: default
  schemas:
    principalSchema: {ref: "cerbos:///principal.json"}
    resourceSchema: {ref: "cerbos:///subscription.json"}
  rules:
    - name: read
      actions: [read]
      effect: EFFECT_ALLOW
      roles: ["*"]
      condition:
        match: {expr: R.attr.exists && V.nothing && R.attr.membre}
"""
REFS = """\
name: refs
description: Refers.
fields:
  to: {kind: reference, collection: contact}
  flag: {kind: boolean, max_length: 3}
"""


@pytest.fixture
def unruled(folder: Path) -> Path:
    """The same files without a policy of rows, so that nothing about rows has to be proved."""
    shutil.rmtree(folder / "policies")
    (folder / "policies").mkdir()
    return folder


def spoil(folder: Path) -> None:
    """One mistake of each kind that is looked for."""
    plans = (folder / "plans.yaml").read_text()
    (folder / "plans.yaml").write_text(plans.replace("tier: free", "teir: free", 1))
    (folder / "collections" / "refs.yaml").write_text(REFS)
    (folder / "collections" / "torn.yaml").write_text("name: torn\ndescription: [")
    units = (folder / "collections" / "currencies.yaml").read_text()
    (folder / "collections" / "currencies.yaml").write_text(
        units.replace("code: CHF", "code: CHFX")
    )
    (folder / "policies" / "contract.yaml").write_text(INVOICE)
    (folder / "policies" / "torn.yaml").write_text("a: [1\nb: }")
    (folder / "policies" / "record.yaml").write_text("a: 1")
    wrong = ROW_POLICY.replace("R.attr.status ==", "R.attr.statos ==").replace(
        "read_pii", "read_pi"
    )
    (folder / "policies" / "rows_contacts.yaml").write_text(wrong)
    other = ROW_POLICY.replace("rows_contacts", "rows_contcts").replace(
        'R.attr.status == "lead"', 'R.attr.status.startsWith("l")'
    )
    (folder / "policies" / "rows_contcts.yaml").write_text(other)


def test_a_sound_catalog_is_told_as_a_table(run: Run) -> None:
    ran = run("catalog", "check")
    assert ran.exit_code == 0, ran.output
    assert "2 collections" in ran.stdout
    (line,) = [one for one in ran.stdout.splitlines() if "contacts" in one and "│" in one]
    assert [cell.strip() for cell in line.split("│")[5:7]] == ["status", "pii"]


@pytest.mark.long
def test_every_kind_of_mistake_is_told_in_one_go_with_its_line(run: Run, folder: Path) -> None:
    spoil(folder)
    ran = run("catalog", "check", folder)
    assert ran.exit_code == 1
    places = {": ".join(line.split(": ")[:2]) for line in ran.stdout.splitlines()}
    row = f"{POLICIES}rows_contacts.yaml"
    assert {
        "plans.yaml:3: plans.0.tier",
        "plans.yaml:6: plans.0.teir",
        "collections/refs.yaml:4: fields.to.collection",
        "collections/refs.yaml:5: fields.flag.max_length",
        "collections/torn.yaml:2: must be valid YAML",
        "policies/contract.yaml:9: rule read",
        "policies/contract.yaml:14: resource attribute membre is not in its schema; did you mean member?",
        "policies/contract.yaml:14: resourcePolicy.rules[0].condition.match.expr",
        "policies/torn.yaml:2: does not parse as one document",
        "policies/record.yaml:1: must have another name",
        f"{row}:10: rows_contacts",
        f"{row}:18: rows_contacts",
        "policies/rows_contcts.yaml:3: rows_contcts",
        "policies/rows_contcts.yaml:18: must not call startsWith()",
    } <= places, ran.stdout
    assert any(place.startswith("collections/currencies.yaml:") for place in places)
    assert "did you mean contacts?" in ran.stdout
    assert "did you mean status?" in ran.stdout
    assert "did you mean read_pii?" in ran.stdout


def test_the_mistakes_are_json_for_a_program(run: Run, unruled: Path) -> None:
    (unruled / "collections" / "refs.yaml").write_text(REFS)
    ran = run("catalog", "check", unruled, "--json")
    report = json.loads(ran.stdout)
    assert (ran.exit_code, report["valid"]) == (1, False)
    assert {
        "file": "collections/refs.yaml",
        "line": 5,
        "part": "fields.flag.max_length",
        "rule": "does not belong to kind boolean",
    } in report["mistakes"]
    assert [one["name"] for one in report["collections"]] == ["contacts", "currencies"]


@pytest.mark.long
def test_a_condition_that_no_row_can_meet_is_a_mistake(run: Run, folder: Path) -> None:
    policy = folder / "policies" / "rows_contacts.yaml"
    policy.write_text(ROW_POLICY.replace('"lead"', '"leed"'))
    ran = run("catalog", "check", folder)
    assert ran.exit_code == 1
    (line,) = ran.stdout.splitlines()
    assert line.startswith("policies/rows_contacts.yaml:10: rows_contacts: read: for support: ")


@pytest.mark.long
def test_a_text_in_another_form_than_its_field_is_a_mistake_with_its_line_and_the_form(
    run: Run, folder: Path
) -> None:
    contacts = folder / "collections" / "contacts.yaml"
    text = contacts.read_text()
    more = "  seen: {kind: timestamp}\n  badge: {kind: uuid}\n"
    contacts.write_text(text.replace("  balance:\n", f"{more}  balance:\n"))
    badge = "8F3C2F6E-1D0A-4B8E-9A39-5A2B8C7D6E5F"
    policy = ROW_POLICY.replace(
        'R.attr.status == "lead"', "'R.attr.seen < \"2026-01-01T01:00:00+01:00\"'"
    ) + (
        "    - name: badge\n      actions: [create, update]\n      effect: EFFECT_ALLOW\n"
        "      roles: [support]\n      condition:\n        match:\n"
        f'          expr: R.attr.badge == "{badge}"\n'
    )
    (folder / "policies" / "rows_contacts.yaml").write_text(policy)
    ran = run("catalog", "check", folder)
    assert ran.exit_code == 1
    told = "compares a field with what it can never be: it must be"
    instant = "YYYY-MM-DDThh:mm:ss.ffffffZ, in UTC and with six decimals"
    assert ran.stdout.splitlines() == [
        f"policies/rows_contacts.yaml:18: rows_contacts: seen: {told} {instant}",
        f"policies/rows_contacts.yaml:25: rows_contacts: badge: {told} lower case, with hyphens",
    ]
    assert "Note" not in ran.stderr


@pytest.mark.long
def test_what_a_filter_cannot_say_exactly_is_a_note_and_no_mistake(run: Run, folder: Path) -> None:
    contacts = folder / "collections" / "contacts.yaml"
    text = contacts.read_text()
    contacts.write_text(
        text.replace("  balance:\n", "  owner:\n    kind: string\n    nullable: true\n  balance:\n")
    )
    assert contacts.read_text() != text
    policy = ROW_POLICY + (
        "    - name: late\n      actions: [read]\n      effect: EFFECT_ALLOW\n"
        '      roles: [support]\n      condition:\n        match: {expr: R.attr.owner > "m"}\n'
    )
    (folder / "policies" / "rows_contacts.yaml").write_text(policy)
    ran = run("catalog", "check", folder)
    assert ran.exit_code == 0, ran.output
    assert "Note: policies/rows_contacts.yaml:10: rows_contacts: read" in ran.stderr
    assert "where owner is missing" in ran.stderr


@pytest.mark.long
@pytest.mark.slice_of(3)
@pytest.mark.parametrize("command", ["check", "plan", "apply"])
def test_a_plans_version_that_is_applied_is_not_edited(
    run: Run, unruled: Path, command: str
) -> None:
    plans = unruled / "plans.yaml"
    text = plans.read_text()
    plans.write_text(text.replace("seats_max: 3", "seats_max: 4", 1))
    ran = run("catalog", command, unruled)
    assert (ran.exit_code, ran.stdout) == (1, f"plans.yaml:3: plans.0: {EDITED}\n")
    plans.write_text(plans.read_text().replace("version: 1", "version: 2", 1))
    assert run("catalog", "check", unruled).exit_code == 0


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("name", ["plans.yaml", "collections", "collections/contacts.yaml"])
def test_what_cannot_be_read_is_one_line_and_no_traceback(
    run: Run, unruled: Path, tmp_path: Path, name: str
) -> None:
    (unruled / name).rename(tmp_path / "elsewhere")
    (unruled / name).symlink_to(tmp_path / "elsewhere")
    ran = run("catalog", "check", unruled)
    assert ran.exit_code == 1
    assert isinstance(ran.exception, SystemExit)
    assert any(line.startswith(name) for line in ran.stdout.splitlines())


@pytest.mark.long_but_one
@pytest.mark.slice_of(4)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("collections/half.yaml", b"name: half\nfields:\n  a: {kind: str"),
        ("collections/half.yaml", b"\xff\xfe"),
        ("collections/half.yaml", b""),
        ("plans.yaml", b""),
        ("plans.yaml", b"plans: 3"),
        ("policies/half.yaml", b"apiVersion: api.cerbos.dev/v1\nresourcePolicy:"),
        ("policies/half.yaml", b"\xff\xfe"),
        ("policies/half.yaml", b"- 1"),
    ],
)
def test_a_half_written_file_is_told_and_no_traceback(
    run: Run, unruled: Path, name: str, content: bytes
) -> None:
    (unruled / name).write_bytes(content)
    ran = run("catalog", "check", unruled)
    assert ran.exit_code == 1
    assert isinstance(ran.exception, SystemExit)
    assert any(line.startswith(name) for line in ran.stdout.splitlines()), ran.stdout


@pytest.mark.long
def test_a_folder_is_checked_without_a_workspace(
    tmp_path: Path, unruled: Path, ruled: House, run: Run
) -> None:
    environment = {**ruled.environment, "PAYBILL_WORKSPACE": str(tmp_path / "none")}
    ran = CliRunner().invoke(app, ["catalog", "check", str(unruled)], env=environment)
    assert ran.exit_code == 0, ran.output
    gone = run("catalog", "check", tmp_path / "gone")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert gone.stderr == "paybill: folder: must be a catalog's folder that is there\n"


def test_without_an_engine_everything_else_is_still_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policies.errors import BinaryNotFound
    from server import private_engine

    def none(_: object) -> Path:
        raise BinaryNotFound("there is no policy engine here")

    monkeypatch.setattr(private_engine, "engine_program", none)
    (folder / "collections" / "refs.yaml").write_text(REFS)
    ran = run("catalog", "check", folder)
    assert ran.exit_code == 1
    assert "collections/refs.yaml:5: fields.flag.max_length" in ran.stdout
    assert "policies/: cannot be compiled: there is no policy engine here" in ran.stdout
