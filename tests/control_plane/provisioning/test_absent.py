"""Without Terraform the worker runs, and each run says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from control_plane.errors import Unavailable
from control_plane.provisioning.absent import AbsentProvisioner
from control_plane.provisioning.binary import find
from control_plane.provisioning.stacks import StackRequest

REQUEST = StackRequest(
    tenant="acme", run_id="r1", cloud="local", isolation="pooled", plan="free", region="local"
)


def cause(empty: Path) -> Unavailable:
    with pytest.raises(Unavailable) as missing:
        find(None, str(empty), shim_allowed=False)
    return missing.value


def observe(absent: AbsentProvisioner) -> None:
    absent.observe(REQUEST)


def apply(absent: AbsentProvisioner) -> None:
    absent.apply(REQUEST, b"")


def settle(absent: AbsentProvisioner) -> None:
    absent.settle(REQUEST)


def destroy(absent: AbsentProvisioner) -> None:
    absent.destroy(REQUEST)


def outputs(absent: AbsentProvisioner) -> None:
    absent.outputs(REQUEST)


@pytest.mark.parametrize("ask", [observe, apply, settle, destroy, outputs])
def test_whatever_is_asked_the_answer_names_the_ways_to_get_terraform(
    tmp_path: Path, ask: Callable[[AbsentProvisioner], None]
) -> None:
    with pytest.raises(Unavailable, match="paybill\\[terraform\\]") as refused:
        ask(AbsentProvisioner(cause(tmp_path)))
    assert refused.value.code == "terraform_missing"
