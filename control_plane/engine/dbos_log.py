"""What DBOS may say in our log: its warnings, never the text of an exception. Not our own log."""

from __future__ import annotations

import logging

from control_plane.engine.dbos_codec import RoutineFailed


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], RoutineFailed):
        return False  # logged where it was raised
    # A traceback's last line is the text of an exception, which may hold a value.
    record.exc_info = record.exc_text = record.stack_info = None
    return True


def quiet() -> None:
    """Send DBOS's warnings where ours go; it would write all it does to a handler of its own."""
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        logger.addHandler(logging.NullHandler())
    if _without_traceback not in logger.filters:
        logger.addFilter(_without_traceback)
