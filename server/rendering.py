"""A plan as an approver sees it: ours, irreversible parts first, the caller's text capped and escaped. No terminal codes."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from control_plane.domain.canonical import Json
from server.approving import CONFIRM_DIGITS, Question

_TEXT_CHARS_MAX = 200
_LINES_MAX = 200
_LINE_CHARS_MAX = 280
_HOW = f"Type the digest's first {CONFIRM_DIGITS} characters to answer."
_ORDER = (
    "data",
    "retention",
    "backup",
    "infrastructure",
    "money",
    "entitlement",
    "rows",
)
_ASKED = ("filter", "values", "undone_run")
_LISTED_MAX = 30
_CATALOG_LISTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "declared_otherwise": ("Declared otherwise, as no database knows", ()),
    "offers": ("Plans", ("name", "version", "change")),
    "coupons": ("Coupons", ("code", "change")),
    "voided": ("Runs that would be void", ("run_id", "kind", "tenant", "state", "requester")),
}


def escaped(text: str) -> str:
    """Text from a caller, with nothing that could move a cursor or turn the reading direction."""
    shown = "".join(
        char if char.isprintable() and unicodedata.category(char) not in ("Cf", "Co", "Cn") else "·"
        for char in text
    )
    return shown if len(shown) <= _TEXT_CHARS_MAX else shown[:_TEXT_CHARS_MAX] + "…"


def render(question: Question) -> list[str]:
    """The lines that an approver reads before typing the digest's first characters."""
    approval, run = question.approval, question.run
    # The plan's own facts, which its digest covers: never the column beside it.
    parts = _mapping((run.plan or {}).get("parts"))
    facts = _mapping(parts.get("facts"))
    lines = [
        f"Approval {approval.id}",
        f"  {escaped(run.kind)} of {_whose(approval.tenant)}",
        f"  asked by {escaped(approval.requester)} through {escaped(approval.requester_actor)}",
        f"  rule {approval.rule}; expires {approval.expires_at}",
    ]
    placed: set[str] = set()
    if "changes" in (rows := _mapping(parts.get("rows"))):
        lines.extend(_of_records(rows, facts))
        placed = {"rows", "facts"}
    elif catalog := _mapping(parts.get("catalog")):
        lines.extend(catalog_lines(catalog))
        # Counts of what has just been shown: they are in its headings.
        placed = {"catalog", "facts"}
    else:
        lines.extend(_of_stack(parts, facts))
    # Parts that have no place of their own come last: what is signed is shown.
    for name in (*_ORDER, *sorted(set(parts) - set(_ORDER))):
        if name in parts and name not in placed:
            lines.append(f"{escaped(name)}:")
            lines.extend(f"  {line}" for line in _flat(parts[name], ""))
    if len(lines) > _LINES_MAX:
        lines = [*lines[:_LINES_MAX], f"… {len(lines) - _LINES_MAX} more lines"]
    return [*lines, f"Digest {approval.plan_digest}", _HOW]


def catalog_lines(catalog: Mapping[str, Json]) -> Iterator[str]:
    """What another catalog would change: what is lost first, then rights, then all else.

    ``catalog`` is the part of that name. A heading counts; a list ends with the number left out.
    """
    moves = [_mapping(one) for one in _shown(catalog, "moves")]
    final = [one for one in moves if one.get("loses_data") or one.get("phase") == "contract"]
    final.sort(key=lambda one: not one.get("loses_data"))
    yield from _listed("Cannot be undone", Counter(_irreversible(one) for one in final))
    yield "  once it is in force it only goes forward: what then fails is finished by applying it again"
    yield from _listed("Who gains or loses what", _rights(catalog), _left_out(catalog, "rights"))
    others = Counter(_moved(one) for one in moves if one not in final)
    yield from _listed("What else changes in collections", others, _left_out(catalog, "moves"))
    for name, (heading, told) in _CATALOG_LISTS.items():
        lines = Counter(_said(one, told) for one in _shown(catalog, name))
        yield from _listed(heading, lines, _left_out(catalog, name))
    for name in ("before", "after"):
        known = _mapping(catalog.get(name))
        yield f"Catalog {name}: {escaped(str(known.get('catalog')))}"
        yield f"  policies {escaped(str(known.get('bundle')))}"
    phases = _mapping(catalog.get("statements"))
    for phase in phases:
        lines = Counter(str(one) for one in _shown(phases, phase))
        heading = f"Statements on {catalog.get('dialect')}, {phase}"
        yield from _listed(heading, lines, _left_out(phases, phase))


def _of_stack(parts: Mapping[str, Json], facts: Mapping[str, Json]) -> Iterator[str]:
    yield "Cannot be undone:"
    yield (
        f"  deletes {facts.get('infra_deletes', 0)}, replaces {facts.get('infra_replaces', 0)}, "
        f"stateful deletes {facts.get('infra_stateful_deletes', 0)}, "
        f"programs run by the stack: {'yes' if facts.get('infra_local_exec') else 'no'}"
    )
    yield from _removed(_mapping(parts.get("data")), _mapping(parts.get("retention")))
    yield f"Will be made: {facts.get('infra_creates', 0)} resources"
    yield (
        f"  touched in all {facts.get('infra_blast_radius', 0)}, "
        f"drifted {facts.get('infra_drift', 0)}, "
        f"grants that are not known yet {facts.get('infra_iam_unread', 0)}"
    )
    yield (
        f"  a month, in US cents: {facts.get('infra_monthly_cost_minor', 0)}; "
        f"types without a price: {facts.get('infra_unpriced', 0)}"
    )


def _of_records(rows: Mapping[str, Json], facts: Mapping[str, Json]) -> Iterator[str]:
    """What would be done to records, then to which: their values are read by a tool, by who may."""
    changes = rows["changes"]
    listed = [_mapping(one) for one in changes] if isinstance(changes, list | tuple) else []
    named = escaped(str(rows.get("collection")))
    yield f"Records of {named}: {escaped(str(rows.get('op')))} of {len(listed)}"
    yield from (f"  {line}" for name in _ASKED for line in _flat(rows.get(name), name))
    groups = facts.get("change_groups")
    told = (
        ", ".join(escaped(str(one)) for one in groups) if isinstance(groups, list | tuple) else ""
    )
    yield f"  largest amount that changes: {escaped(str(facts.get('change_money_max', 0)))}"
    yield f"  field groups that change: {told or 'none'}"
    yield "Can be taken back for 24 hours, while nobody else has changed them. The records:"
    for one in listed:
        yield f"  {escaped(str(one.get('id')))} at version {escaped(str(one.get('version')))}"


def _removed(data: Mapping[str, Json], retention: Mapping[str, Json]) -> Iterator[str]:
    if data.get("database") == "dropped":
        counted = _mapping(data.get("records"))
        told = ", ".join(f"{escaped(name)} {escaped(str(counted[name]))}" for name in counted)
        line = f"  drops the database with its records as counted: {told or 'none'}"
        yield line[:_LINE_CHARS_MAX]
    if retention:
        until = escaped(str(retention.get("restorable_until")))
        yield f"  afterwards the tenant can be restored from a backup until {until}, and no longer"


def _whose(tenant: str) -> str:
    return f"tenant {escaped(tenant)}" if tenant else "the whole workspace"


def _irreversible(move: Mapping[str, Json]) -> str:
    what = "loses data" if move.get("loses_data") else "narrows"
    return f"{what}: {_moved(move)}"


def _moved(move: Mapping[str, Json]) -> str:
    kind = str(move.get("kind")).replace("_", " ")
    return f"{move.get('name')} ({move.get('phase')}, {kind}): {move.get('message')}"


def _rights(catalog: Mapping[str, Json]) -> Counter[str]:
    """A line for what changes alike, with all its actions, and how many these are."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in map(_mapping, _shown(catalog, "rights")):
        cases = f"{one.get('cases')} ({one.get('count')} of {one.get('total')})"
        change = f"{one.get('was')} -> {one.get('becomes')}; {cases}"
        whom = f"{one.get('role')} on {one.get('kind')}"
        alike.setdefault((whom, change), []).append(str(one.get("action")))
    return Counter(
        {
            f"{whom}: {', '.join(actions)}: {change}": len(actions)
            for (whom, change), actions in alike.items()
        }
    )


def _listed(heading: str, told: Counter[str], left_out: int = 0) -> Iterator[str]:
    """A line an entry, each capped; at most so many that what comes after is still read."""
    yield f"{escaped(heading)}: {told.total() + left_out or 'nothing'}"
    lines = list(told)
    yield from (f"  {escaped(line)}" for line in lines[:_LISTED_MAX])
    more = sum(told[line] for line in lines[_LISTED_MAX:]) + left_out
    if more:
        yield f"  … {more} more"


def _said(entry: Json, names: Sequence[str]) -> str:
    return " ".join(str(_mapping(entry).get(name) or "-") for name in names) or str(entry)


def _shown(listing: Mapping[str, Json], name: str) -> Sequence[Json]:
    shown = _mapping(listing.get(name)).get("shown")
    return shown if isinstance(shown, list | tuple) else ()


def _left_out(listing: Mapping[str, Json], name: str) -> int:
    count = _mapping(listing.get(name)).get("left_out")
    return count if isinstance(count, int) else 0


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _flat(value: Json, path: str) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple) and not value:
        yield f"{escaped(path)} = none"
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _flat(value[name], f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}[{place}]")
    elif value is not None:
        # What is not set is no news to the reader: a screen of nothing hides what matters.
        yield f"{escaped(path)} = {escaped(str(value))}"
