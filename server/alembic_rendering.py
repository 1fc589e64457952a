"""The child process that renders a team's Alembic revisions as SQL. It runs the team's Python: nobody but the team starts it.

Called as a program, with a folder and engines' names; it writes JSON to stdout, by engine one entry
a revision, from the base on. The environment file of the folder is not run: nothing connects.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

REVISIONS_MAX = 500
_NAMES = {"postgres": "postgresql"}


def render(folder: Path, dialect: str) -> list[dict[str, str]]:
    """`revision`, `words` and `sql` of each; `error` in the place of `sql` where it cannot be."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(folder))
    made: list[dict[str, str]] = []
    revisions = list(scripts.walk_revisions("base", "heads"))[:REVISIONS_MAX]
    for revision in reversed(revisions):
        told = {"revision": revision.revision, "words": revision.doc or revision.revision}
        buffer = io.StringIO()
        context = MigrationContext.configure(
            dialect_name=_NAMES.get(dialect, dialect),
            opts={"as_sql": True, "output_buffer": buffer},
        )
        try:
            with Operations.context(context):
                revision.module.upgrade()
        except Exception as error:  # noqa: BLE001 - whatever the team's code raises, by its kind
            made.append({**told, "error": type(error).__name__})
            continue
        made.append({**told, "sql": buffer.getvalue()})
    return made


def main() -> None:
    """Render what the arguments name."""
    folder, *dialects = sys.argv[1:]
    json.dump({one: render(Path(folder), one) for one in dialects}, sys.stdout)


if __name__ == "__main__":
    main()
