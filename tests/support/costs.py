"""What one call costs in things that can be counted: statements, and questions to the policy engine. No time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, event

from server.wiring import Face


@dataclass
class Cost:
    """Of everything that went on in a block."""

    statements: int = 0
    questions: int = 0


@contextmanager
def counted(face: Face, monkeypatch: pytest.MonkeyPatch) -> Generator[Cost]:
    """Count the statements of every engine in this process, and what the face asks its gate."""
    cost = Cost()

    def statement(*_: Any) -> None:
        cost.statements += 1

    def asking(real: Callable[..., Any]) -> Callable[..., Any]:
        def ask_gate(*question: Any) -> Any:
            cost.questions += 1
            return real(*question)

        return ask_gate

    with monkeypatch.context() as patch:
        patch.setattr(face.generations.gate, "check", asking(face.generations.gate.check))
        patch.setattr(face.generations.gate, "plan", asking(face.generations.gate.plan))
        event.listen(Engine, "before_cursor_execute", statement)
        try:
            yield cost
        finally:
            event.remove(Engine, "before_cursor_execute", statement)
