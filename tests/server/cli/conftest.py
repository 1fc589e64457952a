"""A workspace whose catalog has a policy of rows, a copy of that catalog to change, and the program. Not a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli.app import app
from tests.support.house import House, build_house

ROW_POLICY = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: rows_contacts
  version: default
  schemas:
    principalSchema: {ref: "cerbos:///principal.json"}
    resourceSchema: {ref: "cerbos:///rows_contacts.json"}
  rules:
    - name: admin
      actions: [read, create, update, delete, read_pii]
      effect: EFFECT_ALLOW
      roles: [platform_admin]
    - name: support_read
      actions: [read]
      effect: EFFECT_ALLOW
      roles: [support]
      condition:
        match: {expr: R.attr.status == "lead"}
"""
Run = Callable[..., Result]


@pytest.fixture(scope="package")
def ruled(tmp_path_factory: pytest.TempPathFactory, cerbos_binary: Path) -> House:
    """A workspace that tests leave as it was."""
    folder = tmp_path_factory.mktemp("ruled")
    extra = folder / "extra"
    (extra / "policies").mkdir(parents=True)
    (extra / "policies" / "rows_contacts.yaml").write_text(ROW_POLICY)
    return build_house(folder / "house", cerbos_binary, catalog=extra)


@pytest.fixture
def folder(ruled: House, tmp_path: Path) -> Path:
    """The applied catalog's files, to be changed."""
    return Path(shutil.copytree(ruled.workspace.catalog, tmp_path / "catalog"))


@pytest.fixture
def run(ruled: House) -> Run:
    """`run("catalog", "check", ...)` in that workspace."""

    def one(*words: str | Path) -> Result:
        told = {**ruled.environment, "COLUMNS": "240"}
        return CliRunner().invoke(app, [str(word) for word in words], env=told)

    return one
