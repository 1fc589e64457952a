"""Which tests run in one process, and which of them first: what shares a scene, and what takes longest. Runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

import pytest
from xdist.scheduler import LoadFileScheduling

# One scene for a whole folder, dearer to build once more than its tests are to run one by one.
TOGETHER: Final = frozenset({"tests/roles"})
# Each of these runs providers of half a gigabyte: two at once would time one another out.
HEAVY: Final = "heavy"
ONE_BY_ONE: Final = frozenset(
    {
        "tests/unwind/test_apply_faults_aws.py",
        "tests/unwind/test_apply_faults_of_a_run_aws.py",
        "tests/unwind/test_apply_faults_of_a_worker_aws.py",
        "tests/control_plane/provisioning/test_two_accounts.py",
        "tests/control_plane/provisioning/test_aws_emulated.py",
        "tests/control_plane/provisioning/clouds/test_contract.py",
    }
)
# By what they took, the longest first: what is begun last must be over soon. Of the others those
# with most tests come first.
LONGEST: Final = (
    HEAVY,
    "tests/unwind/test_kill_over_sqlite.py",
    "tests/roles",
    "tests/unwind/test_kill_over_postgres.py",
    "tests/control_plane/provisioning/modules/test_lifecycle.py",
    "tests/control_plane/provisioning/test_state_places.py",
    "tests/examples/test_langgraph_app.py",
    "tests/switch/test_under_load.py",
    "tests/control_plane/handlers/test_move_of_services.py",
    "tests/server/cli/test_catalog_plan.py",
    "tests/control_plane/handlers/test_move.py",
    "tests/control_plane/handlers/test_restore.py",
    "tests/control_plane/handlers/test_offboard.py",
    "tests/control_plane/handlers/test_database_restore.py",
    "tests/server/cli/test_catalog_check.py",
    "tests/switch/test_faults_of_a_switch.py",
    "tests/server/test_catalog_apply.py",
    "tests/stdio/test_pulled_schema.py",
    "tests/control_plane/handlers/test_record_runs.py",
    "tests/stdio/test_store_faults.py",
    "tests/switch/test_killed_switch.py",
    "tests/control_plane/handlers/test_move_over_postgres.py",
    "tests/stdio/test_lifetime.py",
    "tests/control_plane/handlers/test_credential_rotation.py",
    "tests/server/test_many_at_once.py",
    "tests/server/test_catalog_parts.py",
    "tests/unwind/test_apply_faults_local.py",
    "tests/control_plane/handlers/test_house_runs.py",
    "tests/stdio/test_offboarding.py",
    "tests/stdio/test_gate_faults.py",
    "tests/server/test_init_postgres.py",
    "tests/server/test_replaying.py",
    "tests/server/test_mcp_config.py",
    "tests/approvals/test_at_a_terminal.py",
    "tests/stdio/test_usage.py",
    "tests/benchmarks/test_billing.py",
    "tests/server/test_postgres_house.py",
    "tests/stdio/test_suspension.py",
    "tests/stdio/test_seats.py",
)


def part_of(nodeid: str) -> str:
    """The part of the tests that is run by one process, from a test's id: its file or folder."""
    file = nodeid.partition("::")[0]
    if file in ONE_BY_ONE:
        return HEAVY
    folder = str(PurePosixPath(file).parent)
    return folder if folder in TOGETHER else file


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Part by part, those that take longest first, then those that have most tests."""
    given = list(items)
    parts = [part_of(item.nodeid) for item in given]
    counts = Counter(parts)
    rank = {part: number for number, part in enumerate(LONGEST)}
    found = zip(parts, given, strict=True)
    ordered = sorted(found, key=lambda one: (rank.get(one[0], len(rank)), -counts[one[0]], one[0]))
    return [item for _, item in ordered]


class Spread(LoadFileScheduling):  # type: ignore[misc]  # the library has no types for mypy
    """Hands parts out in the order in which they are collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return part_of(nodeid)
