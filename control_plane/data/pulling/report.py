"""What a pull says of each table, as plain data and as rows to show. Not the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from control_plane.data.pulling.draft import CollectionDraft, Pulled, Remark

ReportRow = tuple[str, str, str, str]


def plain_report(pulled: Pulled) -> dict[str, Any]:
    """The whole report as JSON values: `tables`, `tenant_key` and `left_out`."""
    tables = [*pulled.collections, *pulled.undeclared]
    tenant = pulled.tenant_key
    return {
        "tables": [_table(one) for one in sorted(tables, key=lambda one: one.table)],
        "tenant_key": None
        if tenant is None
        else {
            "column": tenant.column,
            "table": tenant.table,
            "tables_count": tenant.tables_count,
            "tables_total": tenant.tables_total,
            "given": tenant.given,
        },
        "left_out": [{"table": name, "why": why} for name, why in pulled.left_out],
    }


def report_rows(draft: CollectionDraft) -> Iterator[ReportRow]:
    """Rows of part, outcome, what it becomes, and what to know; every column of a field first."""
    remarks = draft.remarks
    proposed, notes = _by_part(remarks.proposed), _by_part(remarks.notes)
    mapped = {one.column for one in draft.fields}
    for field in draft.fields:
        said = [f"proposed: {text}" for text in proposed.get(field.column, ())]
        said += notes.get(field.column, ())
        outcome = "proposed" if field.column in proposed else "mapped"
        yield field.column, outcome, f"{field.name}: {_shown(field.options)}", "; ".join(said)
    for outcome, found in (("proposed", proposed), ("note", notes)):
        for part, texts in found.items():
            if part not in mapped:
                yield part, outcome, "", "; ".join(texts)
    for one in remarks.not_mapped:
        yield one.part, "not mapped", "", one.text


def _table(draft: CollectionDraft) -> dict[str, Any]:
    remarks = draft.remarks
    return {
        "table": draft.table,
        "collection": draft.name if draft.fields else None,
        "mapped": [
            {"column": one.column, "field": one.name, "kind": one.options["kind"]}
            for one in draft.fields
        ],
        "proposed": _remarks(remarks.proposed),
        "not_mapped": _remarks(remarks.not_mapped),
        "notes": _remarks(remarks.notes),
    }


def _remarks(remarks: Iterable[Remark]) -> list[dict[str, str]]:
    return [{"part": one.part, "text": one.text} for one in remarks]


def _by_part(remarks: Iterable[Remark]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in remarks:
        found.setdefault(one.part, []).append(one.text)
    return found


def _shown(options: Mapping[str, Any]) -> str:
    kind = str(options["kind"])
    if "collection" in options:
        kind += f" to {options['collection']}"
    elif "precision" in options:
        kind += f"({options['precision']}, {options['scale']})"
    elif "max_length" in options:
        kind += f"({options['max_length']})"
    marks = [name for name in ("unique", "nullable") if options.get(name)]
    return " ".join([kind, *marks])
