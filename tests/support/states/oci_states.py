"""A bucket of Oracle's storage as Terraform's backend speaks to it: objects, ETags, conditions, signed requests. Not Oracle's storage."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.clouds.oci_cloud import SPACE, is_signed
from tests.clouds.server import Answer, Asked

_OBJECTS = re.compile(rf"/n/{SPACE}/b/(?P<bucket>[^/]+)/o(?:/(?P<name>.+))?")
NOBODY, GONE, UNMET = 401, 404, 412


@dataclass
class OciStates:
    """One bucket. Only who signs with the user's key is let in; `objects` are bytes by name."""

    bucket: str
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def answers(self, asked: Asked) -> Answer:
        """What the storage answers."""
        if not is_signed(asked):
            return _error(NOBODY, "NotAuthenticated")
        found = _OBJECTS.fullmatch(unquote(asked.path))
        assert found is not None, asked.path
        assert found["bucket"] == self.bucket
        name = found["name"]
        if name is None:
            begins = asked.query.get("prefix", "")
            named = [{"name": one} for one in sorted(self.objects) if one.startswith(begins)]
            return Answer(200, {"objects": named, "prefixes": []})
        if asked.method == "PUT":
            return self._put(asked, name)
        return self._known(asked, name)

    def _put(self, asked: Asked, name: str) -> Answer:
        if asked.headers.get("if-none-match") == "*" and name in self.objects:
            return _error(UNMET, "IfNoneMatchFailed")
        self.objects[name] = asked.body
        return Answer(200, b"", {"ETag": _sum(asked.body), "opc-content-md5": _sum(asked.body)})

    def _known(self, asked: Asked, name: str) -> Answer:
        content = self.objects.get(name)
        if content is None:
            return _error(GONE, "ObjectNotFound")
        if asked.headers.get("if-match", _sum(content)) != _sum(content):
            return _error(UNMET, "IfMatchFailed")
        if asked.method == "DELETE":
            del self.objects[name]
            return Answer(204, b"")
        return Answer(200, content, {"ETag": _sum(content), "Content-MD5": _sum(content)})


def _sum(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _error(status: int, code: str) -> Answer:
    return Answer(status, {"code": code, "message": "as the rules have it"})
