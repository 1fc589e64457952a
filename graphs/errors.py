"""The one error of the graphs room: a tool that this caller cannot list. Everything else is the control plane's."""

from __future__ import annotations


class Unlisted(Exception):
    """The tool does not exist for this caller: the same answer as for one that nobody has."""
