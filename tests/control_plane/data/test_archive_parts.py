"""The order of an archive's tables: what is referred to comes first, whatever the order of declaration. Not its rows."""

from __future__ import annotations

import json

from control_plane.data.archive_parts import parts_of
from control_plane.data.collection import Collection


def test_rows_that_are_referred_to_come_first(things: Collection) -> None:
    def referring(name: str, *to: str) -> Collection:
        fields = {f"f{one}": {"kind": "reference", "collection": one} for one in to}
        more = {"label": {"kind": "string"}}
        declared = {"name": name, "description": "x", "fields": {**more, **fields}}
        return Collection.model_validate_json(json.dumps(declared))

    def order(*collections: Collection) -> list[str]:
        return [name for name in parts_of(collections) if not name.startswith("paybill")]

    a, b, c = referring("a", "b"), referring("b", "c"), referring("c")
    assert order(a, b, c) == order(c, b, a) == ["c", "b", "a"]
    # What goes round begins somewhere, always at the same place.
    round_about = [referring("x", "y"), referring("y", "z"), referring("z", "x"), a, b, c]
    assert order(*round_about) == order(*round_about[::-1]) == ["c", "b", "a", "x", "z", "y"]
    assert order(things) == ["things"]
