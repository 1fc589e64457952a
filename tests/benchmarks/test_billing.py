"""The benchmark of billing as a child, at its smallest: that it still runs, and counts what it makes. No speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import paybill

ROOT = Path(paybill.__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "billing.py"
DEADLINE_S = 240.0
SMALL = ("--subscriptions", "20", "--seconds", "0.2", "--json")


def measured(*options: str) -> dict[str, Any]:
    """What one small run of the benchmark told."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL, *options],
        cwd=ROOT,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.long
def test_renewals_are_measured_beside_bare_rows_and_by_the_size_of_the_house() -> None:
    told = measured("--only", "invoices", "--only", "growth", "--store", "sqlite")
    (run,), (size,) = told["invoices"], told["growth"]
    assert (run["store"], run["subscriptions"]) == ("sqlite", 20)
    assert run["bare rows/s"] > run["invoices/s"] > 0
    assert size["tenants"] == 100
    assert size["ms a renewal"] > 0
    assert "usage" not in told


@pytest.mark.long
def test_a_part_that_does_not_exist_is_told_of() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--only", "refunds"],
        cwd=ROOT,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert b"--only" in done.stderr


@pytest.mark.sweep
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_requests_are_measured_through_a_face_on_either_store(store: str) -> None:
    told = measured("--only", "usage", "--only", "entitlements", "--store", store)
    assert [(one["events a request"], one["callers"]) for one in told["usage"]] == [
        (1000, 1),
        (1000, 4),
        (100, 1),
        (100, 4),
    ]
    assert [one["callers"] for one in told["entitlements"]] == [1, 8]
    for one in (*told["usage"], *told["entitlements"]):
        assert (one["Postgres"] > 0) == (store == "postgres")
