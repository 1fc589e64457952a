"""A bucket of Google's storage as Terraform's backend speaks to it: objects, generations, conditions. Not Google's storage."""

from __future__ import annotations

import base64
import email
import hashlib
import json
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.clouds.server import Answer, Asked

_OBJECT = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>.+)")
_UPLOAD = re.compile(r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o")
_LIST = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/o")
_FIRST = 1_700_000_000_000_000
GONE, UNMET, UNKNOWN_CALLER = 404, 412, 401


@dataclass
class GcsStates:
    """One bucket. `token` is the only one that lets anybody in; `objects` are bytes and generation."""

    bucket: str
    token: str
    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict[str, tuple[bytes, int]])
    writes: int = 0

    def answers(self, asked: Asked) -> Answer:
        """What the storage answers."""
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return _error(UNKNOWN_CALLER)
        if asked.method == "POST" and _UPLOAD.fullmatch(asked.path):
            return self._upload(asked)
        if asked.method == "GET" and _LIST.fullmatch(asked.path):
            return Answer(200, {"kind": "storage#objects", "items": self._listed(asked)})
        if found := _OBJECT.fullmatch(asked.path):
            return self._object(asked, unquote(found["name"]))
        # Content is read by the older interface: the path is bucket and object.
        bucket, _, name = unquote(asked.path).lstrip("/").partition("/")
        assert bucket == self.bucket, asked.path
        return self._content(name)

    def put(self, name: str, content: bytes) -> None:
        """Write an object past its conditions."""
        self.writes += 1
        self.objects[name] = (content, _FIRST + self.writes)

    def _upload(self, asked: Asked) -> Answer:
        head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + asked.body).walk())[1:]
        told, content = (one.get_payload(decode=True) for one in parts)
        assert isinstance(told, bytes)
        assert isinstance(content, bytes)
        name = asked.query.get("name") or str(json.loads(told)["name"])
        if not self._is_met(asked, name):
            return _error(UNMET)
        self.put(name, content)
        return Answer(200, self._told(name))

    def _object(self, asked: Asked, name: str) -> Answer:
        if name not in self.objects:
            return _error(GONE)
        if not self._is_met(asked, name):
            return _error(UNMET)
        if asked.method == "DELETE":
            del self.objects[name]
            return Answer(204, b"")
        return (
            self._content(name)
            if asked.query.get("alt") == "media"
            else Answer(200, self._told(name))
        )

    def _content(self, name: str) -> Answer:
        if name not in self.objects:
            return _error(GONE)
        content, generation = self.objects[name]
        headers = {"Content-Type": "application/json", "X-Goog-Generation": str(generation)}
        return Answer(200, content, headers)

    def _is_met(self, asked: Asked, name: str) -> bool:
        wanted = asked.query.get("ifGenerationMatch")
        return wanted is None or int(wanted) == self.objects.get(name, (b"", 0))[1]

    def _listed(self, asked: Asked) -> list[dict[str, str]]:
        begins = asked.query.get("prefix", "")
        return [self._told(name) for name in sorted(self.objects) if name.startswith(begins)]

    def _told(self, name: str) -> dict[str, str]:
        content, generation = self.objects[name]
        summed = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return {
            "kind": "storage#object",
            "bucket": self.bucket,
            "name": name,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(len(content)),
            "md5Hash": summed,
        }


def _error(status: int) -> Answer:
    return Answer(status, {"error": {"code": status, "message": "as the rules have it"}})
