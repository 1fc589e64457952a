"""Seats and licences beside the log: calls about seats replay, licences are recorded, the key is vouched for."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.audit.recorder import LeafRecorder
from control_plane.secrets import signer
from server import keys, licensing
from server.auditing import Auditing
from server.clock import SystemClock
from server.ids import RandomIds
from server.replaying import replaying
from server.wiring import face_ports
from tests.support.house import House, build_house, fresh_key
from tests.support.onboarding import ask, onboard
from tests.support.workers import running_worker

TENANT = "acme"
ADA = "ada@example.com"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace in which seats were asked for in every way, and a licence was issued."""
    house = build_house(tmp_path_factory.mktemp("licensing"), cerbos_binary)
    with running_worker(house):
        with house.face(house.issue("operator", TENANT)) as face:
            onboard(face, TENANT)
            for holder in (ADA, ADA, "bob", "cyd", "dan"):
                for dry_run in (True, False):
                    asked = {"tenant": TENANT, "holder": holder, "dry_run": dry_run}
                    ask(face, "seat_assign", **asked, idempotency_key=fresh_key())
            for _ in range(2):
                asked = {"tenant": TENANT, "holder": ADA, "idempotency_key": fresh_key()}
                ask(face, "seat_release", **asked)
            ask(face, "seat_list", tenant=TENANT)
        clock, ids = SystemClock(), RandomIds()
        recorder = LeafRecorder(keys.load_public(house.workspace.keys).seal_bytes, clock, ids)
        with house.store() as store, store.write(TENANT) as connection:
            licensing.issue(
                connection,
                house.workspace,
                recorder,
                TENANT,
                licence_id="lic_1",
                now=clock.now(),
            )
    return house


@pytest.mark.long
def test_calls_about_seats_replay_to_the_same_digests(worked: House) -> None:
    with worked.store() as store:
        found = Auditing(worked.workspace, store).newest(1_000, opened=True)
        entries = [
            one
            for one in found
            if one.payload is not None and str(one.payload.get("tool", "")).startswith("seat_")
        ]
        ports = face_ports(worked.workspace, worked.settings, store)
        with replaying(worked.workspace, worked.settings, ports) as replay:
            lines = list(replay.lines(entries))
    kinds = [one.leaf.kind for one in entries]
    assert (kinds.count("changed"), kinds.count("planned")) == (6, 4)
    assert (kinds.count("refused"), kinds.count("read")) == (2, 1)
    for line in lines:
        assert line.said is not None, line.why
        assert line.said.decision == "same"
        planned = line.entry.leaf.kind in ("changed", "planned")
        assert line.said.plan == ("same" if planned else "none")


def test_the_log_vouches_for_the_key_that_signs_licences(worked: House) -> None:
    file = worked.workspace.keys / keys.PUBLIC_NAME
    with worked.store() as store:
        assert Auditing(worked.workspace, store).verify().intact
        before = file.read_text()
        public = keys.load_public(worked.workspace.keys)
        file.write_text(before.replace(public.licence, signer.public_bytes(bytes(32)).hex()))
        try:
            report = Auditing(worked.workspace, store).verify()
        finally:
            file.write_text(before)
    assert not report.intact
    assert any("licence" in finding.detail for finding in report.tampers)
