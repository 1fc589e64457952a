"""A model's JSON Schema made fit for an editor. Not any one file's schema."""

from __future__ import annotations

from typing import Any, Final, cast

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def editor_schema(schema: object) -> Any:
    """pydantic's schema as people write files by it.

    Without titles, other names than are told, and null for an option that is not there.
    """
    if isinstance(schema, list):
        return [editor_schema(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    known = cast("dict[str, object]", schema)
    kept = {
        name: editor_schema(part)
        for name, part in known.items()
        if not (name == "title" and isinstance(part, str))
        and not (name == "default" and part is None)
    }
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    real = [one for one in kept.get("anyOf", ()) if one != {"type": "null"}]
    if len(real) == 1:
        del kept["anyOf"]
        return {**real[0], **kept}
    return kept
