"""The tools that one workspace publishes: those of the registry, and over its collections. Not who may use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, create_model

from control_plane.data.collection import Collection
from control_plane.errors import BadInput
from tools.collection_tools import collection_tools, tool_names
from tools.form import EACH_COLLECTIONS_MAX, CollectionForm
from tools.record_tools import BY_VERB
from tools.registry import TOOLS
from tools.spec import ToolSpec


def toolbox(
    collections: Mapping[str, Collection], form: CollectionForm = "auto"
) -> Mapping[str, ToolSpec]:
    """Every tool by its name, in the order in which they are listed.

    With ``each`` a collection has tools of its own, whose types are its fields; with ``generic``
    the tools over any collection take its name. ``auto`` is ``each`` up to a number of collections
    whose tools a model still keeps apart.
    """
    if form == "generic" or (form == "auto" and len(collections) > EACH_COLLECTIONS_MAX):
        return MappingProxyType({name: _naming(tool, collections) for name, tool in TOOLS.items()})
    general = {tool.name for tool in BY_VERB.values()}
    tools = {name: tool for name, tool in TOOLS.items() if name not in general}
    for _, collection in sorted(collections.items()):
        for tool in collection_tools(collection):
            tools[tool.name] = tool
    return MappingProxyType(tools)


def check_names(collections: Mapping[str, Collection]) -> None:
    """Raise BadInput where a collection's tool would have the name of another one."""
    taken: set[str] = set(TOOLS)
    for _, collection in sorted(collections.items()):
        own = {*tool_names(collection).values()}
        if own & taken:
            raise BadInput(
                f"{collection.name}.yaml: name",
                f"must be another: there is a tool {min(own & taken)} already",
            )
        taken |= own


def _naming(tool: ToolSpec, collections: Mapping[str, Collection]) -> ToolSpec:
    verb = next((verb for verb, one in BY_VERB.items() if one.name == tool.name), None)
    if verb is None:
        return tool
    names = sorted(one.name for one in collections.values() if verb in one.offered_verbs)
    general = tool.arguments.model_fields["collection"]
    # Shown, not enforced: what is not declared is as absent as a tenant that is not there.
    shown: Any = Annotated[
        general.annotation, *general.metadata, Field(json_schema_extra={"enum": list(names)})
    ]
    narrowed = create_model(
        tool.arguments.__name__,
        __base__=tool.arguments,
        __doc__=tool.arguments.__doc__,
        collection=(shown, ...),
    )
    return replace(tool, arguments=narrowed)
