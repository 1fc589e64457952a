"""The shipped stacks, each with a program that writes a line for every real creation and removal. Not a stack of ours."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from control_plane.domain.isolation import ISOLATIONS
from control_plane.provisioning import module

SHIPPED = Path(module.__file__).parent / "modules" / "local"


@dataclass(frozen=True)
class Effects:
    """Copies of the modules, and the log that their programs write."""

    modules: Path
    log: Path

    def options(self) -> list[str]:
        """What a worker is started with, so that it takes these modules."""
        digests = [module.tree_digest(self.modules / "local" / model) for model in ISOLATIONS]
        admitted = [part for digest in digests for part in ("--admit-module", digest)]
        return ["--modules", str(self.modules), *admitted]

    def of(self, tenant: str) -> tuple[int, int]:
        """How often a tenant's stack was really made, and how often it was removed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return lines.count(f"made {tenant}"), lines.count(f"gone {tenant}")


def effect_modules(folder: Path) -> Effects:
    """Copy the modules below a folder, and add the program to each."""
    modules, log = folder / "modules", folder / "effects.log"
    for model in ISOLATIONS:
        copied = modules / "local" / model
        shutil.copytree(SHIPPED / model, copied)
        (copied / "effect.tf").write_text(
            'resource "terraform_data" "effect" {\n'
            "  input            = var.tenant_id\n"
            "  triggers_replace = [var.tenant_id]\n"
            + _program(log, "made", "")
            + _program(log, "gone", "    when    = destroy\n")
            + "}\n"
        )
    return Effects(modules, log)


def _program(log: Path, word: str, when: str) -> str:
    return (
        '  provisioner "local-exec" {\n'
        f"{when}"
        f'    command = "echo {word} $TENANT >> {log}"\n'
        "    environment = {\n      TENANT = self.input\n    }\n"
        "  }\n"
    )
