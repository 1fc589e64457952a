"""The front door: no file of a workspace takes a room's place. Not what the program does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import paybill

_DEADLINE_S = 60
_GATE = "import sys\nsys.stderr.write('the gate was replaced')\n"


def _plant(folder: Path, room: str, *, package: bool) -> None:
    (folder / room).mkdir()
    if package:
        (folder / room / "__init__.py").write_text(_GATE)
    (folder / room / "gate.py").write_text(_GATE)


def _run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    # The rooms come second: what the checkout's own entry on the path would be in an installation.
    path = os.pathsep.join([".", str(paybill.ROOMS)])
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize("package", [True, False])
def test_a_planted_gate_does_not_replace_ours(tmp_path: Path, package: bool) -> None:
    _plant(tmp_path, "policies", package=package)
    code = (
        "import sys, types, paybill\n"
        "def run():\n"
        "    import policies.gate\n"
        "    sys.stdout.write(policies.gate.__file__)\n"
        "cli = types.ModuleType('server.cli')\n"
        "cli.main = run\n"
        "sys.modules['server.cli'] = cli\n"
        "paybill.main()\n"
    )
    ran = _run(tmp_path, "-c", code)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout) == paybill.ROOMS / "policies" / "gate.py"
    assert "replaced" not in ran.stderr


@pytest.mark.slice_of(3)
@pytest.mark.parametrize("room", ["server", "tools", "graphs", "policies", "control_plane"])
def test_a_planted_room_does_not_run_when_the_program_starts(tmp_path: Path, room: str) -> None:
    _plant(tmp_path, room, package=True)
    ran = _run(tmp_path, "-m", "paybill", "version")
    assert ran.returncode == 0, ran.stderr
    assert "replaced" not in ran.stderr + ran.stdout


def test_a_room_that_is_already_someone_elses_refuses_to_start(tmp_path: Path) -> None:
    _plant(tmp_path, "policies", package=True)
    ran = _run(tmp_path, "-c", "import policies, paybill; paybill.main()")
    assert ran.returncode == 2
    assert "refuses to start: not from its own folder: policies" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_rooms_of_this_checkout_are_ours() -> None:
    assert paybill.check_rooms() == ()
    assert (paybill.ROOMS / "control_plane" / "__init__.py").is_file()


def test_a_missing_room_is_no_room_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paybill, "_ROOM_NAMES", ("server", "no_such_room"))
    assert paybill.check_rooms() == ("no_such_room",)


def test_stdio_parameters_name_workspace_and_token_file_as_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paybill.stdio_parameters("shop", token_file="agent.token") == {
        "command": sys.executable,
        "args": [
            *("-P", "-m", "paybill"),
            *("--workspace", str(tmp_path / "shop")),
            "serve",
            *("--token-file", str(tmp_path / "agent.token")),
        ],
        "env": {},
    }


def test_stdio_parameters_leave_out_what_was_not_given() -> None:
    assert paybill.stdio_parameters()["args"] == ["-P", "-m", "paybill", "serve"]


@pytest.mark.long
def test_stdio_parameters_are_understood_by_the_program(tmp_path: Path) -> None:
    parameters = paybill.stdio_parameters(tmp_path, token_file=tmp_path / "agent.token")
    ran = _run(tmp_path, *parameters["args"])
    assert ran.returncode == 1  # there is no workspace: the arguments themselves were taken
    assert "No such option" not in ran.stderr
    assert "Traceback" not in ran.stderr
