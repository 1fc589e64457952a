"""Recorded calls are decided and planned again: the same digests, or it is said what differs."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from server.auditing import Auditing, Entry
from server.cli.app import app
from server.replaying import Line, about, replaying
from server.wiring import face_ports
from tests.support.house import House, build_house, fresh_key
from tests.support.onboarding import onboard
from tests.support.workers import running_worker

TENANT = "acme"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace in which a tenant was onboarded, a record written and planned, and a call refused."""
    house = build_house(tmp_path_factory.mktemp("replay"), cerbos_binary)
    with running_worker(house):
        token = house.issue("operator,support", TENANT)
        with house.face(token) as face:
            onboard(face, TENANT)
            values = {"full_name": "Ada", "email": "a@b", "status": "lead", "balance": 1}
            asked: dict[str, Any] = {"tenant": TENANT, "collection": "contacts"}
            asked["values"] = values
            for dry_run in (False, True):
                asked |= {"dry_run": dry_run, "idempotency_key": fresh_key()}
                face.front.call("record_create", asked)
            face.front.call("record_query", {"tenant": TENANT, "collection": "contacts"})
            face.front.call("run_cancel", {"run_id": "0" * 32, "idempotency_key": fresh_key()})
            refused = {
                "tenant": TENANT,
                "display_name": "Again",
                "plan": "free",
                "isolation": "pooled",
                "idempotency_key": fresh_key(),
            }
            face.front.call("tenant_onboard", refused)
    return house


def newest(house: House) -> list[Entry]:
    with house.store() as store:
        return Auditing(house.workspace, store).newest(1_000, opened=True)


@contextmanager
def replayed(house: House, entries: list[Entry]) -> Generator[list[Line]]:
    with house.store() as store:
        ports = face_ports(house.workspace, house.settings, store)
        with replaying(house.workspace, house.settings, ports) as one:
            yield list(one.lines(entries))


def test_every_recorded_call_replays_to_the_same_digests(worked: House) -> None:
    with replayed(worked, newest(worked)) as lines:
        seen = {line.entry.leaf.kind: line.said for line in lines}
        assert [line.why for line in lines if line.said is None] == []
        assert all(line.said is not None and line.said.same for line in lines), lines
    planned = {kind for kind, said in seen.items() if said is not None and said.plan == "same"}
    assert planned == {"intent", "outcome", "planned", "run.approved"}
    assert {"read", "run.proposed", "refused", "not_found"} <= set(seen)


def test_a_run_is_found_by_its_id_and_replayed_as_it_was_approved(worked: House) -> None:
    entries = newest(worked)
    proposed = next(one for one in entries if one.leaf.kind == "run.proposed")
    assert proposed.payload is not None
    chosen = about(entries, str(proposed.payload["run_id"]))
    assert {"run.proposed", "run.approved", "run.applied"} <= {one.leaf.kind for one in chosen}
    with replayed(worked, chosen) as lines:
        assert {line.entry.leaf.kind for line in lines} == {"run.proposed", "run.approved"}


def altered(entries: list[Entry], kind: str, **changes: Any) -> list[Entry]:
    entry = next(one for one in entries if one.leaf.kind == kind and one.payload is not None)
    payload = cast("dict[str, Any]", entry.payload)
    return [replace(entry, payload={**payload, **changes})]


def test_another_answer_than_the_policies_give_differs(worked: House) -> None:
    entries = newest(worked)
    read = next(one for one in entries if one.leaf.kind == "read")
    evidence = cast("dict[str, Any]", cast("dict[str, Any]", read.payload)["evidence"])
    with replayed(worked, altered(entries, "read", evidence={**evidence, "digest": "0" * 64})) as [
        line
    ]:
        assert line.said is not None
        assert line.said.decision == "differs"
        assert not line.said.same


def test_a_fact_that_was_told_otherwise_differs_in_the_plan(worked: House) -> None:
    entries = newest(worked)
    with replayed(worked, altered(entries, "intent", plan_digest="0" * 64)) as [line]:
        assert line.said is not None
        assert (line.said.decision, line.said.plan) == ("same", "differs")


def test_without_its_catalog_or_bundle_a_call_is_not_replayed(
    worked: House, tmp_path: Path
) -> None:
    entries = newest(worked)
    with replayed(worked, altered(entries, "intent", catalog="0" * 64)) as [line]:
        assert line.said is not None
        assert line.said.detail == "the plan is not made again: catalog_absent"
    kept = tmp_path / "bundles"
    shutil.move(worked.workspace.bundles, kept)
    try:
        with replayed(worked, altered(entries, "intent")) as [line]:
            assert (line.said, line.why) == (None, "bundle_error")
    finally:
        shutil.move(kept, worked.workspace.bundles)


def test_an_altered_bundle_is_not_replayed_on(worked: House, tmp_path: Path) -> None:
    entries = newest(worked)
    [file] = worked.workspace.bundles.glob("*/tenant.yaml")
    kept = file.read_bytes()
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    file.write_bytes(kept.replace(b"viewer", b"somebody"))
    try:
        with replayed(worked, altered(entries, "read")) as [line]:
            assert (line.said, line.why) == (None, "bundle_error")
    finally:
        file.write_bytes(kept)
        file.chmod(stat.S_IRUSR)


@pytest.mark.long
def test_the_command_says_that_the_digests_are_the_same(worked: House) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "paybill", "audit", "replay"],
        env=worked.environment,
        cwd=worked.workspace.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the same digests" in done.stdout


def test_the_command_names_an_id_that_leads_nowhere(worked: House) -> None:
    done = CliRunner().invoke(app, ["audit", "replay", "f" * 32], env=worked.environment)
    assert done.exit_code != 0
    assert "must name a leaf, call or run" in done.stderr
