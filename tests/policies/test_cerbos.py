"""The policies' own tests, run by the engine's compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from policies.binary import Binary

POLICIES = Path(__file__).parents[2] / "policies" / "cerbos"


def compile_policies(binary: Binary, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(binary.path), "compile", "--strict-evaluation", "--output=json", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_policies_compile_and_their_own_tests_pass(binary: Binary) -> None:
    done = compile_policies(binary, POLICIES)
    assert done.returncode == 0, done.stdout
    summary = json.loads(done.stdout)["summary"]
    assert summary["overallResult"] == "RESULT_PASSED"
    assert summary["testsCount"] >= 60


def test_a_policy_that_lets_an_agent_approve_fails_the_tests(
    binary: Binary, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(POLICIES, tmp_path / "cerbos"))
    policy = folder / "approval.yaml"
    text = policy.read_text()
    weak = text.replace('P.attr.actor_kind == "human"', 'P.attr.actor_kind != "nobody"')
    assert weak != text
    policy.write_text(weak)
    assert compile_policies(binary, folder).returncode == 4
