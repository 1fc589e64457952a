"""A catalog folder looked at as a whole: every mistake in one go, and what it declares. Applies nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from control_plane.data.collection import Collection
from control_plane.domain.plans import PlanCatalog, PlanOffer
from control_plane.errors import BadInput, PaybillError, Refused, Unavailable
from control_plane.facts.row import row_schemas
from control_plane.fleet.migration_file import FOLDER as MIGRATIONS
from graphs.gatekeeper import Gatekeeper
from graphs.proof_rows import ROWS_MAX
from graphs.row_proof import Difference, Misspelt, proof_callers, prove
from policies import places
from policies.bundle import Bundle, build_bundle
from policies.compiler import compile_folder
from policies.errors import BundleError, GateError
from policies.gate import Gate
from policies.row_policies import ROWS_PREFIX
from server import catalog
from server.catalog_mistakes import COLLECTIONS, PLANS, Mistake, read_declared
from server.catalog_stacks import STACKS, stack_files
from server.policy_mistakes import POLICIES, Policies, check_policies
from server.private_engine import private_gate
from server.private_files import read_plain_file, write_new_file
from server.proving import SEED, named_roles

_PREFIX: Final = "paybill-catalog-"
_NEVER: Final = "compares a field with what it can never be"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: mistakes, which stand in the way; notes, which do not; and what is declared.

    `collections` and `plans` are those without a mistake; `named` the fields that a row's policy
    names, by collection.
    """

    mistakes: tuple[Mistake, ...]
    notes: tuple[Mistake, ...]
    collections: Mapping[str, Collection]
    plans: tuple[PlanOffer, ...]
    named: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


def read_working(folder: Path) -> tuple[dict[str, bytes], tuple[Mistake, ...]]:
    """The files of a catalog that can be read, by path, and why the others cannot.

    Read once: what is written meanwhile is of the next look. Raises BadInput when there is no
    such folder.
    """
    if not _is_folder(folder):
        raise BadInput("folder", "must be a catalog's folder that is there")
    files: dict[str, bytes] = {}
    mistakes: list[Mistake] = []
    for name in [PLANS, *sorted(catalog.OPTIONAL), *_listed(folder, mistakes)]:
        if not _is_unicode(name):
            mistakes.append(Mistake(ascii(name), 0, "", "must have a name in UTF-8"))
            continue
        try:
            files[name], _ = read_plain_file(folder / name, bytes_max=catalog.FILE_BYTES_MAX)
        except FileNotFoundError:
            if name not in catalog.OPTIONAL:
                mistakes.append(Mistake(name, 0, "", "must be there"))
        except (PaybillError, OSError) as error:
            mistakes.append(Mistake(name, 0, "", _why(error)))
    return files, tuple(mistakes)


def _listed(folder: Path, mistakes: list[Mistake]) -> list[str]:
    """The files in every part's folder; why a folder's cannot be told joins the mistakes."""
    names: list[str] = []
    parts: tuple[tuple[str, Callable[[Path], list[str]]], ...] = (
        (COLLECTIONS, lambda inner: _names(inner, COLLECTIONS)),
        (POLICIES, lambda inner: _names(inner, POLICIES)),
        (MIGRATIONS, _migrations),
        (STACKS, stack_files),
    )
    for part, listed in parts:
        try:
            names += listed(folder)
        except (PaybillError, OSError) as error:
            mistakes.append(Mistake(part, 0, "", _why(error)))
    return names


@contextmanager
def scratch() -> Generator[Path]:
    """An empty folder, gone at the end. Raises Unavailable when there is no room for it."""
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
            yield Path(folder)
    except OSError as error:
        raise Unavailable("there is no room for temporary files") from error


@contextmanager
def copied(files: Mapping[str, bytes]) -> Generator[Path]:
    """A copy of a catalog's files that nobody writes to meanwhile. Raises as `scratch`."""
    with scratch() as outer:
        folder = outer / "catalog"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_new_file(folder / name, content)
        yield folder


def check(folder: Path, program: Callable[[], Path], applied: PlanCatalog | None = None) -> Checked:
    """Look at a catalog's working files; `program` finds the policy engine, and may raise GateError.

    `applied` are the plans in force, of which none may be edited; None where they are not known.
    Raises BadInput when there is no such folder, and as `scratch`; whatever is wrong inside of the
    folder is told.
    """
    files, unread = read_working(folder)
    return check_files(files, unread, program, applied)


def check_files(
    files: Mapping[str, bytes],
    unread: tuple[Mistake, ...],
    program: Callable[[], Path],
    applied: PlanCatalog | None,
    rows_max: int = ROWS_MAX,
) -> Checked:
    """Look at files that were read, as `check`; rules of rows are tried on `rows_max` made-up ones."""
    declared = read_declared(files, applied)
    with scratch() as room:
        found = check_policies(files, declared.collections, program, room)
        mistakes = {*unread, *declared.mistakes, *found.mistakes}
        mistakes |= set(_migrated(files, declared.collections))
        deeper = _Bundled(found, declared.collections, program, room, rows_max)
        more, notes = deeper.findings(complete=not mistakes)
    if not mistakes and not more:
        more = _as_applied(files)
    return Checked(
        mistakes=tuple(sorted({*mistakes, *more})),
        notes=tuple(sorted(set(notes))),
        collections=declared.collections,
        plans=declared.plans,
        named=found.named,
    )


class _Bundled:
    """What shows only in a bundle: of the policies that are without a mistake so far."""

    def __init__(
        self,
        found: Policies,
        collections: Mapping[str, Collection],
        program: Callable[[], Path],
        room: Path,
        rows_max: int,
    ) -> None:
        self._rows_max = rows_max
        self._found = found
        self._collections = collections
        self._program = program
        self._room = room

    def findings(self, *, complete: bool) -> tuple[list[Mistake], list[Mistake]]:
        """Mistakes, and notes. Where the bundle is not complete, its own making is no news."""
        try:
            bundle = self._build()
            compiled = compile_folder(self._program(), bundle.directory) if complete else ()
            rule = "compiles as written, but not in the bundle: "
            wrong = [
                Mistake(f"{POLICIES}{one.file}", 0, one.part, rule + one.rule) for one in compiled
            ]
            if wrong or not self._found.named:
                return wrong, []
            with private_gate(self._program(), bundle) as gate:
                return self._proved(gate)
        except BundleError as error:
            told = [Mistake(POLICIES, 0, "", finding) for finding in error.findings]
        except (GateError, Refused) as error:
            told = [Mistake(POLICIES, 0, "", f"cannot be tried in an engine: {error}")]
        return (told, []) if complete else ([], [])

    def _build(self) -> Bundle:
        own = self._room / "own"
        own.mkdir()
        for name, content in self._found.files.items():
            (own / name).write_bytes(content)
        schemas = row_schemas(self._collections, self._found.named)
        return build_bundle(catalog.policy_sources(own), self._room / "bundles", schemas)

    def _proved(self, gate: Gate) -> tuple[list[Mistake], list[Mistake]]:
        mistakes: list[Mistake] = []
        notes: list[Mistake] = []
        texts = [content.decode() for content in self._found.files.values()]
        callers = proof_callers(named_roles(texts))
        for name, fields in sorted(self._found.named.items()):
            collection, keeper = self._collections[name], Gatekeeper(gate)
            proof = prove(collection, fields, keeper, callers, SEED, self._rows_max)
            mistakes += [mis for one in proof.misspelt for mis in self._misspelt(name, one)]
            for one, roles in _by_roles(proof.differences):
                found = self._difference(name, one, roles)
                (mistakes if one.side == "untranslatable" else notes).append(found)
        return mistakes, notes

    def _difference(self, collection: str, found: Difference, roles: str) -> Mistake:
        kind = f"{ROWS_PREFIX}{collection}"
        file, text = self._policy(kind)
        line = places.action_line(text, found.action)
        rule = f"for {roles}: {_rule(found)}"
        return Mistake(f"{POLICIES}{file}", line, f"{kind}: {found.action}", rule)

    def _misspelt(self, collection: str, found: Misspelt) -> Iterator[Mistake]:
        kind = f"{ROWS_PREFIX}{collection}"
        file, text = self._policy(kind)
        rule = f"{_NEVER}: it must be {found.wanted}"
        for line in _literal_lines(text, found.field, found.literal):
            yield Mistake(f"{POLICIES}{file}", line, f"{kind}: {found.field}", rule)

    def _policy(self, kind: str) -> tuple[str, str]:
        """The file of the policy of a kind, and its text."""
        named = rf"\bresource\s*:\s*[\"']?{kind}\b"
        texts = {name: content.decode() for name, content in self._found.files.items()}
        file = next((name for name, text in texts.items() if places.word_line(text, named)), "")
        return file, texts.get(file, "")


def _literal_lines(text: str, field: str, literal: str) -> list[int]:
    """Where the policy says it of the field; else where it says it at all, or the field."""
    said = rf"[\"']{re.escape(literal)}\\?[\"']"
    named = rf"\battr\s*\.\s*{field}\b"
    for pattern in (rf"{named}.*{said}|{said}.*{named}", said, named):
        if lines := places.word_lines(text, pattern):
            return lines
    return [0]


def _by_roles(differences: Iterable[Difference]) -> Iterator[tuple[Difference, str]]:
    """Differences that are alike but for the roles, once, with the fewest roles that show them."""
    alike: dict[Difference, list[frozenset[str]]] = {}
    for one in differences:
        alike.setdefault(replace(one, roles=()), []).append(frozenset(one.roles))
    for one, sets in alike.items():
        least = [roles for roles in sets if not any(other < roles for other in sets)]
        told = sorted({" with ".join(sorted(roles)) or "any role" for roles in least})
        yield one, ", ".join(told)


def _rule(found: Difference) -> str:
    if found.side == "untranslatable":
        return f"the condition is no filter of rows, or {_NEVER}"
    nulls = f" where {', '.join(found.null_fields)} is missing" if found.null_fields else ""
    if found.side == "plan":
        return f"the filter selects rows that are then not allowed{nulls}"
    return f"the filter leaves out rows that are allowed{nulls}"


def _migrations(folder: Path) -> list[str]:
    inner = folder / MIGRATIONS
    if inner.is_symlink():
        raise BadInput(MIGRATIONS, "must be a folder, and no link")
    return catalog.migration_files(folder)


def _migrated(files: Mapping[str, bytes], declared: Mapping[str, Collection]) -> list[Mistake]:
    """What is wrong with the team's migrations; nothing is loaded for it where there are none."""
    prefix = f"{MIGRATIONS}/"
    own = {
        name.removeprefix(prefix): content
        for name, content in files.items()
        if name.startswith(prefix)
    }
    if not own:
        return []
    from control_plane.fleet.checker import check as check_migrations

    _, found = check_migrations(own, set(declared))
    return [Mistake(f"{prefix}{one.file}", one.line, one.rule, one.message) for one in found]


def _as_applied(files: Mapping[str, bytes]) -> list[Mistake]:
    """What is read to be applied must be read here, too: nothing passes that would then be refused."""
    with copied(files) as folder:
        try:
            catalog.load(folder)
        except BadInput as error:
            return [Mistake(error.field, 0, "", error.rule)]
    return []


def _names(folder: Path, part: str) -> list[str]:
    inner = folder / part
    if not inner.exists() and not inner.is_symlink():
        return []
    if inner.is_symlink() or not inner.is_dir():
        raise BadInput(part, "must be a folder, and no link")
    found = sorted(path.name for path in islice(inner.iterdir(), catalog.FILES_MAX + 1))
    if len(found) > catalog.FILES_MAX:
        raise BadInput(part, f"must have at most {catalog.FILES_MAX} files")
    return [f"{part}{name}" for name in found if name.endswith(".yaml")]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_unicode(name: str) -> bool:
    return name.encode(errors="replace").decode() == name


def _why(error: Exception) -> str:
    if isinstance(error, BadInput):
        return error.rule
    # The place is told already, and differs from machine to machine.
    _, must, rule = str(error).rpartition(" must ")
    return f"must {rule}" if must else "cannot be read"
