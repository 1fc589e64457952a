"""The suites of `tests/clouds`, run where the clouds' SDKs are: in a child, in an environment of its own. Not those suites."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import platformdirs
import pytest

from control_plane.provisioning.clouds.choose import OPENS

_CHECKOUT = Path(__file__).resolve().parents[4]
_SUITES = (
    "tests/clouds/contract.py",
    "tests/clouds/alone.py",
    "tests/clouds/inventory.py",
    "tests/clouds/stack_secrets.py",
)
_SETTING = "PAYBILL_TEST_CLOUDS_ENVIRONMENT"
_DEADLINE_S = 900  # the first one installs the SDKs
_TESTS_MIN, _SWEPT_MIN = 4, 12  # of each cloud
_TAIL_CHARS = 6_000
_CLOUD = re.compile(r"\[(aws|azure|gcp|oci|ibm)(?:\]|-)")


@dataclass(frozen=True)
class Ran:
    """What the child did: its command and output, and which tests of a cloud passed or did not."""

    told: str
    passed: dict[str, list[str]]
    others: list[str]


def run(chosen: str, folder: Path) -> Ran:
    """One child for all clouds: the environment and moto are made once."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv: the SDKs stand in an environment that uv makes (pip install uv)")
    report = folder / "report.xml"
    extras = [word for cloud in OPENS for word in ("--extra", cloud)]
    command = [uv, "run", "--frozen", *extras, "--group", "clouds", "pytest", *_SUITES]
    command += ["-o", "addopts=--import-mode=importlib -ra -p tests.support.early"]
    command += [
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        "--confcutdir=tests/clouds",
        "-m",
        chosen,
    ]
    command += [f"--basetemp={folder / 'child'}", f"--junitxml={report}"]
    kept = platformdirs.user_cache_path("paybill") / "test-clouds"
    environment = {
        name: value
        for name, value in os.environ.items()
        # What another pytest or this environment's own Python says is not the child's.
        if not name.startswith(("PYTEST_", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"))
    }
    environment["UV_PROJECT_ENVIRONMENT"] = os.environ.get(_SETTING, str(kept))
    done = subprocess.run(
        command,
        cwd=_CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    output = (done.stdout + done.stderr)[-_TAIL_CHARS:]
    told = f"{' '.join(command)}\nended with {done.returncode}:\n{output}"
    assert report.is_file(), told
    return _read(report, told)


def _read(report: Path, told: str) -> Ran:
    passed: dict[str, list[str]] = {cloud: [] for cloud in OPENS}
    others: list[str] = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own child wrote it
        name = case.attrib["name"]
        if len(case):
            others.append(name)
        elif found := _CLOUD.search(name):
            passed[found[1]].append(name)
    return Ran(told, passed, others)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run("not sweep", tmp_path_factory.mktemp("clouds"))


@pytest.mark.long
@pytest.mark.parametrize("cloud", list(OPENS))
def test_a_clouds_adapter_holds_its_contract(ran: Ran, cloud: str) -> None:
    broken = [name for name in ran.others if cloud in name]
    assert broken == [], ran.told
    assert len(ran.passed[cloud]) >= _TESTS_MIN, ran.told


@pytest.mark.long
def test_no_test_of_theirs_failed_or_was_skipped(ran: Ran) -> None:
    assert ran.others == [], ran.told


@pytest.mark.sweep
def test_the_rarer_paths_hold_too(tmp_path: Path) -> None:
    swept = run("sweep", tmp_path)
    assert swept.others == [], swept.told
    assert min(len(names) for names in swept.passed.values()) >= _SWEPT_MIN, swept.told
