"""How far an apply is, read from its log: a real one, torn ones and foolish ones. Not who follows it."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning import binary, progress
from control_plane.provisioning.progress import Following, Progress
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stacks import StackRequest

PLANTED: Final = "s3cret-planted"
REQUEST: Final = StackRequest(
    tenant="acme", run_id="run-1", cloud="local", isolation="silo", plan="pro", region="eu"
)


def line_of(kind: str = "apply_start", **hook: Any) -> dict[str, Any]:
    """One line as `apply -json` writes it; it also says what no one is told."""
    resource = {"addr": "terraform_data.x", "resource_type": "terraform_data"}
    said = {"resource": resource, "action": "create", "id_key": "id", "id_value": PLANTED}
    message = f"terraform_data.x: Creating... {PLANTED}"
    return {"@message": message, "type": kind, "hook": said | hook}


def followed(tmp_path: Path, *parts: bytes) -> list[Progress]:
    """What is told of a log that grows by these parts."""
    told: list[Progress] = []
    log = tmp_path / "1.log"
    log.unlink(missing_ok=True)
    following = Following(log, told.append)
    following.read()
    for part in parts:
        with log.open("ab") as file:
            file.write(part)
        following.read()
    return told


def one(tmp_path: Path, line: Any) -> list[Progress]:
    return followed(tmp_path, json.dumps(line).encode() + b"\n")


def test_a_real_apply_tells_of_each_resource_when_it_begins_and_ends(tmp_path: Path) -> None:
    terraform = binary.find(None, os.environ["PATH"])
    provisioner = TerraformProvisioner(terraform, RunnerSettings(), tmp_path, b"k" * 32)
    told: list[Progress] = []
    provisioner.apply(REQUEST, provisioner.observe(REQUEST).artifact, tell=told.append)
    made = {"terraform_data.access_group", "terraform_data.database"}
    assert {one.address for one in told} == made
    for address in made:
        stages = [one.stage for one in told if one.address == address]
        assert stages == ["started", "done"]
    assert {one.doing for one in told} == {"create"}
    told.clear()
    provisioner.destroy(REQUEST, tell=told.append)
    assert {one.doing for one in told} == {"delete"}
    assert len(told) == 2 * len(made)


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("apply_start", "started"),
        ("apply_progress", "working"),
        ("apply_complete", "done"),
        ("apply_errored", "failed"),
    ],
)
def test_each_stage_has_its_word_and_no_value_is_told(
    tmp_path: Path, kind: str, stage: str
) -> None:
    told = one(tmp_path, line_of(kind, elapsed_seconds=7))
    expected = {"address": "terraform_data.x", "doing": "create", "stage": stage, "elapsed_s": 7}
    assert [each.model_dump() for each in told] == [expected]
    assert PLANTED not in repr(told)


@pytest.mark.parametrize("kind", ["version", "planned_change", "diagnostic", "refresh_start", ""])
def test_other_lines_say_nothing(tmp_path: Path, kind: str) -> None:
    assert one(tmp_path, line_of(kind)) == []


def test_an_action_that_is_not_known_is_another_one_and_an_address_is_cut(tmp_path: Path) -> None:
    (told,) = one(tmp_path, line_of(action=PLANTED, resource={"addr": "x" * 1000}))
    assert (told.doing, len(told.address)) == ("other", 256)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b"[]",
        b'"apply_start"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": ["apply_start"]}',
        b'{"type": "apply_start"}',
        b'{"type": "apply_start", "hook": null}',
        b'{"type": "apply_start", "hook": {"resource": "x"}}',
        b'{"type": "apply_start", "hook": {"resource": {"addr": "x"}, "action": ["create"]}}',
        b'{"type": "apply_start", "hook": {"resource": {"addr": "x"}, "elapsed_seconds": "x"}}',
        b'{"type": "apply_start", "hook": {"resource": {"addr": "x"}, "elapsed_seconds": 1e999}}',
        b'{"type": "apply_start", "hook": {"resource": {"addr": "x"}, "elapsed_seconds": NaN}}',
    ],
    ids=lambda line: line[:90].decode("latin-1")[-40:],
)
def test_a_line_that_does_not_read_is_passed_over(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(line_of()).encode()
    assert len(followed(tmp_path, line + b"\n" + good + b"\n")) == 1


@given(st.data())
def test_it_does_not_matter_where_a_log_is_torn(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = [line_of(kind, elapsed_seconds=at) for at, kind in enumerate(("apply_start",) * 4)]
    content = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    bounds = [0, *cuts, len(content)]
    parts = [content[start:end] for start, end in pairwise(bounds)]
    told = followed(tmp_path_factory.getbasetemp(), *parts)
    assert [each.elapsed_s for each in told] == [0, 1, 2, 3]


def test_half_a_line_is_told_of_once_it_is_whole(tmp_path: Path) -> None:
    line = json.dumps(line_of()).encode()
    assert followed(tmp_path, line) == []
    assert len(followed(tmp_path, line[:10], line[10:], b"\n")) == 1


def test_what_is_read_at_once_and_kept_of_a_line_without_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_READ_BYTES_MAX", 1000)
    good = json.dumps(line_of()).encode() + b"\n"
    told: list[Progress] = []
    log = tmp_path / "1.log"
    log.write_bytes(b"x" * 5000 + b"\n" + good)
    following = Following(log, told.append)
    for _time in range(8):
        following.read()
        assert len(following._rest) <= 1000
    assert len(told) == 1
