"""Secrets of a stack that a run makes: in no row, no event and no leaf, opened or not. Not what Terraform keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from control_plane.domain.canonical import canonical, plain
from control_plane.provisioning import binary, module, stacks
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.store.infrastructure_tables import run_event, stack
from control_plane.store.log import StoredLog
from server import keys
from server.auditing import _opened
from tests.support.approval_world import OTHER, World
from tests.support.lifecycle_bench import Bench

PLANTED: Final = {name: f"pl4nt3d-{name}-s3cr3t" for name in ("default", "output", "printed")}
MORE: Final = """\
variable "token" {{
  type      = string
  sensitive = true
  default   = "{default}"
}}
resource "terraform_data" "keeper" {{
  input = var.token
  provisioner "local-exec" {{
    command = "echo {printed}"
  }}
}}
output "login" {{
  sensitive = true
  value     = "{output}-${{var.token}}"
}}
"""
_LEAVES_MAX: Final = 10_000


@pytest.fixture
def world(bench: Bench, tmp_path: Path) -> World:
    """A worker with real Terraform, whose pooled stacks hold secrets and print one."""
    folder = tmp_path / "module"
    shipped = stacks.MODULES / "local" / "pooled"
    folder.mkdir()
    for one in shipped.glob("*.tf"):
        (folder / one.name).write_bytes(one.read_bytes())
    (folder / "more.tf").write_text(MORE.format(**PLANTED))
    provisioner = TerraformProvisioner(
        binary.find(None, os.environ["PATH"]),
        RunnerSettings(),
        tmp_path / "stacks",
        b"k" * 32,
        admitted_modules=frozenset({module.tree_digest(folder)}),
        module_overrides={("local", "pooled"): folder},
    )
    return bench.world.with_ports(replace(bench.world.ports, provisioner=provisioner))


def leaves_of(world: World) -> Iterator[str]:
    """Every leaf with its payload, opened with the workspace's key."""
    private = keys.load(world.workspace.keys).seal_private
    with world.store.read() as connection:
        for stored in StoredLog(world.store).newest(_LEAVES_MAX):
            yield repr(_opened(connection, stored, private))


def test_a_run_keeps_and_tells_of_no_secret_of_the_stack_that_it_makes(
    world: World, tmp_path: Path
) -> None:
    run = world.work(world.propose(OTHER, isolation="pooled"))
    assert run.state == "applied", run
    with world.store.read() as connection:
        events = connection.execute(select(run_event)).mappings().all()
        rows = connection.execute(select(stack).where(stack.c.tenant == OTHER)).mappings().all()
    assert {one["address"] for one in events} >= {"terraform_data.keeper"}
    assert rows[0]["outputs"].keys() == {"database"}
    texts = {
        "events": repr(events),
        "row": repr(rows),
        "run": canonical(plain(run)).decode(),
        "leaves": "\n".join(leaves_of(world)),
    }
    assert OTHER in texts["leaves"]
    for path in world.workspace.state.rglob("*"):
        if path.is_file():
            texts[path.name] = path.read_bytes().decode("utf-8", "replace")
    found = {
        (name, where)
        for name, secret in PLANTED.items()
        for where, text in texts.items()
        if secret in text
    }
    assert found == set()
    state = (tmp_path / "stacks" / OTHER / "pooled" / "terraform.tfstate").read_text()
    assert PLANTED["default"] in state
