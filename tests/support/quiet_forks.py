"""Keeps the gRPC library out of forks: a terminal test forks, and its child must reach its program. Not a fixture."""

from __future__ import annotations

import os

# Read once, when gRPC is imported: hence a plugin that is loaded before any test.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
