"""`paybill stack check` and `stack copy`: what is lacking is said, and nothing is overwritten. Never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control_plane.domain.isolation import CLOUDS, ISOLATIONS
from control_plane.provisioning.stack_contract import VARIABLES
from tests.server.cli.conftest import Run
from tests.support.house import House


def test_a_copied_stack_is_the_shipped_one_and_lacks_nothing(run: Run, tmp_path: Path) -> None:
    for cloud, isolation in (("local", "silo"), ("aws", "bridge")):
        into = tmp_path / cloud / isolation
        into.parent.mkdir()
        copied = run("stack", "copy", cloud, isolation, into)
        assert copied.exit_code == 0, copied.output
        assert (into / "main.tf").is_file()
        checked = run("stack", "check", into)
        assert checked.exit_code == 0, checked.output
        assert "1 checked" in checked.output


def test_what_every_stack_must_offer_is_shown_and_what_one_lacks(run: Run, tmp_path: Path) -> None:
    into = tmp_path / "own"
    run("stack", "copy", "local", "silo", into)
    (into / "outputs.tf").unlink()
    checked = run("stack", "check", into, "--cloud", "local")
    assert checked.exit_code == 1
    for name in VARIABLES:
        assert f"variable {name}" in checked.output
    assert "output database" in checked.output
    assert "must be declared" in checked.output


def test_a_place_that_is_taken_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    into = tmp_path / "own"
    into.mkdir()
    (into / "mine.tf").write_text("# mine\n")
    copied = run("stack", "copy", "local", "silo", into)
    assert copied.exit_code != 0
    assert "must not be there yet" in copied.output
    assert [one.name for one in into.iterdir()] == ["mine.tf"]


def test_a_folder_that_tells_of_no_cloud_needs_one_named(run: Run, tmp_path: Path) -> None:
    into = tmp_path / "own"
    run("stack", "copy", "local", "silo", into)
    checked = run("stack", "check", into)
    assert checked.exit_code != 0
    assert "--cloud" in checked.output


@pytest.mark.parametrize("words", [("check", "/no/such/folder"), ("copy", "nimbus", "silo", "x")])
def test_what_is_not_there_is_said_without_a_traceback(run: Run, words: tuple[str, ...]) -> None:
    result = run("stack", *words)
    assert result.exit_code != 0
    assert "Traceback" not in result.output


def test_without_a_folder_every_stack_of_the_workspace_is_checked(run: Run, ruled: House) -> None:
    assert "no stack of your own" in run("stack", "check").output
    place = ruled.workspace.catalog / "stacks"
    try:
        for isolation in ISOLATIONS:
            run("stack", "copy", "local", isolation, place / "local" / isolation)
        assert "3 checked" in run("stack", "check").output
        (place / CLOUDS[0] / "silo" / "outputs.tf").unlink()
        checked = run("stack", "check")
        assert (checked.exit_code, "output database" in checked.output) == (1, True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
