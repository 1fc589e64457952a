"""In which form collections become tools. Not the tools."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

CollectionForm: TypeAlias = Literal["auto", "each", "generic"]
# Seven tools a collection: beyond this a model no longer keeps them apart.
EACH_COLLECTIONS_MAX: Final = 4
