"""What must be so before any module of the tests is imported: a plugin. Not a fixture."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.memory import folder_in_memory

# A terminal test forks, and its child must reach its program; gRPC reads this once, when imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Where pytest and this house's servers make their folders; the controller's choice is its workers'.
if "PYTEST_DEBUG_TEMPROOT" not in os.environ and (_memory := folder_in_memory()):
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_memory)
# Where the environment keeps Python from writing bytecode, each of these processes would compile
# every module and rewrite every assertion for itself, on every run.
sys.dont_write_bytecode = False
# What its shared modules assert tells what was found, as in a test itself.
pytest.register_assert_rewrite("tests.unwind")
