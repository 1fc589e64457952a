"""The wheel: what an installation gets. Not what the program does once it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

_DEADLINE_S = 240


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout. Fetches the build backend, where it is not cached."""
    uv = shutil.which("uv")
    assert uv, "the wheel is built with uv, which is not on the path: pip install uv"
    out = tmp_path_factory.mktemp("wheel")
    _run([uv, "build", "--wheel", "--out-dir", str(out), str(root)], root, dict(os.environ))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_nothing_but_paybill_stands_at_the_top(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in _names(wheel)}
    assert "paybill" in tops
    assert {top for top in tops if not top.endswith(".dist-info")} == {"paybill"}


def test_every_file_of_every_room_rides_along(
    root: Path, room_files: tuple[Path, ...], wheel: Path
) -> None:
    standing = [path for path in room_files if (root / path).is_file()]
    expected = {
        path.as_posix() if path.parts[0] == "paybill" else f"paybill/{path.as_posix()}"
        for path in standing
    }
    assert expected - _names(wheel) == set()
    assert {Path(name).suffix for name in expected} >= {".py", ".yaml", ".json", ".tf"}


def test_the_licence_rides_along(wheel: Path) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in _names(wheel))


def test_the_wheels_contents_are_in_order(wheel: Path, root: Path) -> None:
    program = Path(sys.executable).with_name("check-wheel-contents")
    assert "OK" in _run([str(program), str(wheel)], root, {"PATH": os.defpath})


def test_the_unpacked_wheel_runs_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import sys, paybill\n"
        "sys.path.insert(0, str(paybill.ROOMS))\n"
        "import server.cli.app, policies.gate, control_plane.plane, tools.registry\n"
        "sys.stdout.write('\\n'.join(sorted({m.__file__ for n, m in list(sys.modules.items())\n"
        "    if n.split('.')[0] in {'paybill', 'server', 'policies', 'control_plane', 'tools',\n"
        "    'graphs'} and m.__file__})))\n"
    )
    files = _run(_isolated("-c", code), tmp_path, _environment(unpacked)).split("\n")
    assert len(files) > len({"paybill", "server", "policies", "control_plane", "tools"})
    assert [file for file in files if not Path(file).is_relative_to(unpacked)] == []


def test_the_unpacked_wheels_program_answers(unpacked: Path, tmp_path: Path) -> None:
    said = _run(_isolated("-m", "paybill", "--help"), tmp_path, _environment(unpacked))
    assert "serve" in said


def _isolated(*args: str) -> list[str]:
    # -S: no .pth file is read, so the checkout of an editable installation is not on the path.
    return [sys.executable, "-P", "-S", *args]


def _environment(unpacked: Path) -> dict[str, str]:
    path = os.pathsep.join([str(unpacked), sysconfig.get_path("purelib")])
    return {"PATH": os.defpath, "PYTHONPATH": path, "HOME": str(unpacked)}
