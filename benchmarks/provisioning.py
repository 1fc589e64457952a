"""What provisioning costs: a run beside a script of the same Terraform commands, onboardings, memory. Asserts nothing.

    uv run python benchmarks/provisioning.py --rounds 15

On the cloud `local`, with the Terraform that Paybill finds. A run and the script are done by turns, so
that noise falls on both. Only ratios within a row mean something.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from guarded_call import say
from place import throw_away
from provisioning_runs import Onboarded, onboardings

from control_plane.domain.canonical import canonical
from control_plane.domain.isolation import ISOLATIONS, Isolation
from control_plane.provisioning import binary, stacks
from control_plane.provisioning.binary import Terraform
from control_plane.provisioning.provisioner import TerraformProvisioner
from control_plane.provisioning.runner import RunnerSettings
from control_plane.provisioning.stacks import StackRequest

Row = dict[str, Any]
_MIB = 1024 * 1024
_SAMPLE_S = 0.01


class Peak:
    """The most resident memory of this process's children at one moment, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()

    @contextmanager
    def sampled(self) -> Generator[None]:
        """Sample while the block runs."""
        thread = threading.Thread(target=self._sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _sample(self) -> None:
        me = psutil.Process()
        while not self._over.wait(_SAMPLE_S):
            held = 0
            for child in me.children(recursive=True):
                try:
                    held += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.bytes = max(self.bytes, held)


def request(tenant: str, isolation: Isolation) -> StackRequest:
    """A stack on this machine."""
    return StackRequest(
        tenant=tenant, run_id="bench", cloud="local", isolation=isolation, plan="pro", region="eu"
    )


def script(terraform: Terraform, folder: Path, wanted: StackRequest) -> None:
    """What a script would do: init, plan, show, apply and plan again, in a fresh folder."""
    module = Path(shutil.copytree(stacks.MODULES / wanted.cloud / wanted.isolation, folder))
    (module / "values.tfvars.json").write_bytes(canonical(stacks.variables(wanted)))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(module), "CHECKPOINT_DISABLE": "1"}
    values = "-var-file=values.tfvars.json"
    commands = (
        ["init", "-input=false"],
        ["plan", "-input=false", values, "-out=saved"],
        ["show", "-json", "saved"],
        ["apply", "-input=false", "saved"],
        ["plan", "-input=false", "-detailed-exitcode", values],
    )
    for words in commands:
        subprocess.run(
            [*terraform.argv, *words],
            cwd=module,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )


def governed(provisioner: TerraformProvisioner, wanted: StackRequest) -> None:
    """What a run does: plan, apply exactly that, and look whether it is so."""
    observed = provisioner.observe(wanted)
    provisioner.apply(wanted, observed.artifact)
    if provisioner.look(wanted).settled != "present":
        raise RuntimeError("the stack is not as planned")


def timed_ms(act: Callable[[], object]) -> float:
    """How long an act takes."""
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def beside_script(folder: Path, isolation: Isolation, rounds: int) -> Row:
    """A run and the script by turns, each time for a new tenant."""
    terraform = binary.find(None, os.environ["PATH"])
    provisioner = TerraformProvisioner(terraform, RunnerSettings(), folder / "ours", b"k" * 32)
    ours: list[float] = []
    theirs: list[float] = []
    peaks = (Peak(), Peak())
    for number in range(rounds):
        wanted = request(f"t{number:04}", isolation)
        place = folder / "script" / wanted.tenant
        with peaks[0].sampled() if number == 0 else _unsampled():
            ours.append(timed_ms(lambda wanted=wanted: governed(provisioner, wanted)))
        with peaks[1].sampled() if number == 0 else _unsampled():
            theirs.append(
                timed_ms(lambda wanted=wanted, place=place: script(terraform, place, wanted))
            )
    mine, other = statistics.median(ours[1:]), statistics.median(theirs[1:])
    return {
        "stack": f"local {isolation}",
        "Terraform": f"{terraform.version} ({terraform.source})",
        "rounds": rounds - 1,
        "a run, ms": round(mine),
        "the script, ms": round(other),
        "run : script": round(mine / other, 2),
        "MiB of the run's Terraform": round(peaks[0].bytes / _MIB),
        "MiB of the script's": round(peaks[1].bytes / _MIB),
    }


@contextmanager
def _unsampled() -> Generator[None]:
    yield


def _onboarded(found: Onboarded) -> Row:
    return {
        "what": found.what,
        "tenants": found.tenants,
        "median ms": round(found.median_ms),
        "slowest ms": round(found.slowest_ms),
        "all, s": round(found.wall_s, 1),
        "worker MiB": round(found.worker_bytes / _MIB),
        "Terraform at most, MiB": round(found.terraform_bytes / _MIB),
    }


def table(title: str, rows: list[Row]) -> None:
    """A table in Markdown."""
    say(f"\n### {title}\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        say("| " + " | ".join(str(value) for value in row.values()) + " |")


def main(
    rounds: Annotated[int, typer.Option(min=3, max=500, help="Of each stack.")] = 15,
    tenants: Annotated[int, typer.Option(min=1, max=100, help="Onboarded at once.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep everything in this new folder.")] = None,
) -> None:
    """Measure, and print tables in Markdown."""
    before = os.getloadavg()[0]
    with throw_away(folder) as made:
        runs = [beside_script(made / model, model, rounds + 1) for model in ISOLATIONS]
        houses = [_onboarded(one) for one in onboardings(made / "house", rounds, tenants)]
    if as_json:
        say(json.dumps({"runs": runs, "onboardings": houses, "load": before}, indent=1))
        return
    table("A run, and a script of the same Terraform commands", runs)
    table("Onboarding through a face and a worker", houses)
    say(f"\n{os.cpu_count()} cores, load of the last minute {before:.1f} before.")


if __name__ == "__main__":
    typer.run(main)
