"""Declarations to files of a folder: all of them or none, and none over another. Not their content.

The files are written into a folder beside it first, and read there as a catalog reads them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import yaml

from control_plane.data.collection import COLLECTIONS_MAX, load_collections
from control_plane.data.pulling.draft import CollectionDraft
from control_plane.data.pulling.names import told
from control_plane.errors import BadInput, Failed

_GROUPS: Final = ("pii", "secret")
_FOLDER: Final = "--into"


def declaration_text(draft: CollectionDraft) -> str:
    """The YAML of one declaration; a proposed group bears a comment that says so."""
    dumped = yaml.dump(
        draft.declared(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    for group in _GROUPS:
        # Four blanks stand before what is an option of a field, and before nothing else.
        dumped = dumped.replace(f"\n    group: {group}\n", f"\n    group: {group}  # proposed\n")
    return f"# Pulled from the table {told(draft.table)}. Read it before it is applied.\n{dumped}"


def write_declarations(
    drafts: Sequence[CollectionDraft], folder: Path, *, force: bool = False
) -> tuple[Path, ...]:
    """Write `<name>.yaml` for each draft; the folder is made when its parent stands.

    Raises BadInput naming a file that stands, unless `force`, or that no catalog would take; Failed
    (`not_written`) when the disk refuses. In each case every file is as it was before.
    """
    targets = tuple(folder / f"{one.name}.yaml" for one in drafts)
    if not folder.parent.is_dir() or (folder.exists() and not folder.is_dir()):
        raise BadInput(_FOLDER, "must be a folder, or a new one in a folder that is there")
    standing = [path for path in targets if path.exists() or path.is_symlink()]
    if standing and not force:
        raise BadInput(standing[0].name, "is there already; use --force to replace it")
    if len({*folder.glob("*.yaml"), *targets}) > COLLECTIONS_MAX:
        raise BadInput(_FOLDER, f"must hold at most {COLLECTIONS_MAX} collections")
    try:
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder.parent) as room:
            new = Path(room, "new")
            new.mkdir()
            for draft, target in zip(drafts, targets, strict=True):
                written = new / target.name
                written.write_text(declaration_text(draft), encoding="utf-8")
            load_collections(new)
            _move(new, targets, Path(room, "old"))
    except OSError as error:
        message = f"The files could not be written ({error.strerror}); nothing was changed."
        raise Failed(message, code="not_written") from None
    return targets


def _move(new: Path, targets: Sequence[Path], old: Path) -> None:
    with ExitStack() as undo:
        for folder in (old, *{target.parent for target in targets}):
            if not folder.exists():
                folder.mkdir()
                undo.callback(folder.rmdir)
        for target in targets:
            kept = old / target.name
            if target.exists() or target.is_symlink():
                target.rename(kept)
                undo.callback(kept.rename, target)
            # Exclusively: what came to stand there meanwhile is not written over.
            with target.open("xb") as out:
                undo.callback(target.unlink)
                out.write((new / target.name).read_bytes())
        undo.pop_all()


class _Plain(yaml.SafeDumper):
    """No anchors: a strict catalog refuses them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
