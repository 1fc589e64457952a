"""The texts of a PDF that fpdf2 wrote, page by page and in the order in which they were put. No other's PDF."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

_OBJECT = re.compile(rb"(?<=\n)(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
_FONTS = re.compile(rb"/Font <<(.*?)>>", re.DOTALL)
_FONT = re.compile(rb"/(F\d+) (\d+) 0 R")
_TO_UNICODE = re.compile(rb"/ToUnicode (\d+) 0 R")
_KIDS = re.compile(rb"/Kids \[(.*?)\]", re.DOTALL)
_CONTENTS = re.compile(rb"/Contents (\d+) 0 R")
_REFERENCE = re.compile(rb"(\d+) 0 R")
_MAPPED = re.compile(rb"<([0-9A-Fa-f]{4})> ?<([0-9A-Fa-f]+)>")
_SHOWN = re.compile(rb"/(F\d+) [\d.]+ Tf|\(((?:[^\\()]|\\.)*)\) Tj", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def pages(pdf: bytes) -> list[list[str]]:
    """The texts of each page, as they were put, one for each time."""
    objects = {int(number): body for number, body in _OBJECT.findall(pdf)}
    fonts = _fonts(objects)
    (kids,) = _KIDS.findall(pdf)
    numbers = [int(number) for number in _REFERENCE.findall(kids)]
    return [list(_texts(_contents(objects, objects[number]), fonts)) for number in numbers]


def _contents(objects: dict[int, bytes], page: bytes) -> bytes:
    (number,) = _CONTENTS.findall(page)
    return _stream(objects[int(number)])


def _stream(body: bytes) -> bytes:
    head, _, rest = body.partition(b"stream\n")
    data = rest.rsplit(b"\nendstream", 1)[0]
    return zlib.decompress(data) if b"/FlateDecode" in head else data


def _fonts(objects: dict[int, bytes]) -> dict[bytes, dict[int, str]]:
    """Each font's letters by their codes."""
    listed = [found for body in objects.values() for found in _FONTS.findall(body)]
    return {
        name: _letters(_stream(objects[int(_TO_UNICODE.findall(objects[int(number)])[0])]))
        for name, number in {pair for one in listed for pair in _FONT.findall(one)}
    }


def _letters(table: bytes) -> dict[int, str]:
    return {
        int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be")
        for code, text in _MAPPED.findall(table)
    }


def _texts(contents: bytes, fonts: dict[bytes, dict[int, str]]) -> Iterator[str]:
    letters: dict[int, str] = {}
    for font, text in _SHOWN.findall(contents):
        if font:
            letters = fonts[font]
            continue
        codes = _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)
        yield "".join(
            letters[int.from_bytes(codes[at : at + 2], "big")] for at in range(0, len(codes), 2)
        )
