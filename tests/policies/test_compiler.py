"""What the engine's compiler finds is read by file and line. Not the rules of the house."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from policies.binary import Binary
from policies.compiler import Misfit, compile_folder
from policies.errors import GateUnavailable

POLICIES = Path(__file__).parents[2] / "policies" / "cerbos"
POLICY = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: {kind}
  version: default
  schemas:
    principalSchema: {{ref: "cerbos:///principal.json"}}
    resourceSchema: {{ref: "cerbos:///subscription.json"}}
  rules:
    - name: read
      actions: [read]
      effect: EFFECT_ALLOW
      roles: [billing]
      condition:
        match: {{expr: '{expr}'}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "cerbos"))


def test_policies_that_compile_have_no_misfit(binary: Binary, folder: Path) -> None:
    assert compile_folder(binary.path, folder) == ()


def test_every_condition_that_does_not_compile_is_told(binary: Binary, folder: Path) -> None:
    for kind, expr in (("one", "V.nothing"), ("two", "R.attr.exists && && true")):
        (folder / f"{kind}.yaml").write_text(POLICY.format(kind=kind, expr=expr))
    found = compile_folder(binary.path, folder)
    assert [(one.file, one.line) for one in found] == [("one.yaml", 14), ("two.yaml", 14)]
    assert found[0].part == "resourcePolicy.rules[0].condition.match.expr"
    assert found[0].rule == "Undefined variable 'nothing'"


def test_what_does_not_load_is_told_with_its_line(binary: Binary, folder: Path) -> None:
    text = POLICY.format(kind="one", expr="true").replace("actions:", "actins:")
    (folder / "one.yaml").write_text(text)
    (misfit,) = compile_folder(binary.path, folder)
    assert misfit == Misfit(
        "one.yaml", 10, "resourcePolicy.rules[0].actins", 'unknown field "actins"'
    )


def test_a_program_that_is_no_compiler_is_no_answer(tmp_path: Path) -> None:
    for program in (Path("/bin/true/none"), Path("/bin/false")):
        with pytest.raises(GateUnavailable):
            compile_folder(program, tmp_path)
