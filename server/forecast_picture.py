"""A forecast as a picture: bands of states and gates over months, invoices as dots. Not what is foreseen.

The picture is SVG 1.1 that stands alone: no script, no font or style from elsewhere. It is the same
text for the same forecast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from xml.etree import ElementTree as ET

from control_plane.billing.amounts import money_text
from control_plane.billing.calendar import MONTHLY, boundary
from control_plane.domain.money import Money

_LEFT: Final = 150
_RIGHT: Final = 80  # the amount of an invoice of the last day stands over it
_MONTH_WIDTH: Final = 60
_BAND_HEIGHT: Final = 26
_DOTS_TOP: Final = 60
_STATE_Y: Final = 190
_GATE_Y: Final = 236
_AXIS_Y: Final = 286
_LEGEND_Y: Final = 336
_LEGEND_HEIGHT: Final = 22
_HEIGHT: Final = 412
_WIDTH_MIN: Final = 600  # of the months: the legend must fit below
_LETTER: Final = 6.6  # about the width of one at this size
_INK: Final = "#1f2933"
_FAINT: Final = "#cbd2d9"
_GREY: Final = "#9aa5b1"
_STATES: Final[Mapping[str, str]] = {
    "scheduled": "#bcccdc",
    "incomplete": "#f7d070",
    "trialing": "#a5d8ff",
    "active": "#8fd3a6",
    "past_due": "#f7d070",
    "unpaid": "#f0a470",
    "paused": "#bcccdc",
    "canceled": _GREY,
    "expired": _GREY,
    "incomplete_expired": _GREY,
}
_GATES: Final[Mapping[str, str]] = {
    "clear": "#c9ead3",
    "no_upgrades": "#fceebb",
    "no_new_resources": "#f7d070",
    "read_only": "#f0a470",
    "no_access": "#e66a6a",
    "deprovision": "#a61b1b",
}
_DOTS: Final[Mapping[str, str]] = {
    "paid": "#207a45",
    "open": "#b44d12",
    "uncollectible": "#a61b1b",
    "void": _GREY,
    "draft": "#ffffff",
}


@dataclass(frozen=True)
class _Scale:
    """Where an instant lies from left to right."""

    since: datetime
    until: datetime
    width: int

    def x(self, at: datetime) -> float:
        part = (at - self.since) / (self.until - self.since)
        return round(_LEFT + min(1.0, max(0.0, part)) * self.width, 1)


def svg(told: Mapping[str, Any]) -> str:
    """The picture of what `control_plane.handlers.forecasts.told` tells."""
    since, until = _at(told["since"]), _at(told["until"])
    scale = _Scale(since, until, max(_WIDTH_MIN, told["months"] * _MONTH_WIDTH))
    whole = _LEFT + scale.width + _RIGHT
    root = ET.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {whole} {_HEIGHT}",
        width=str(whole),
        height=str(_HEIGHT),
    )
    root.set("font-family", "system-ui, sans-serif")
    root.set("font-size", "12")
    title = f"{told['tenant']}: {told['months']} months ahead, payments {told['payments']}"
    ET.SubElement(root, "title").text = title
    _rect(root, 0, 0, whole, _HEIGHT, "#ffffff")
    _text(root, 16, 28, title, size=15)
    _months(root, scale, told["months"])
    _bands(root, scale, "state", told["states"], _STATE_Y, _STATES)
    _bands(root, scale, "level", told["gates"], _GATE_Y, _GATES)
    _invoices(root, scale, told["invoices"])
    _legend(root, told)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _months(root: ET.Element, scale: _Scale, months: int) -> None:
    for index in range(months + 1):
        at = boundary(scale.since, MONTHLY, "UTC", index)
        if at > scale.until:
            return
        x = scale.x(at)
        _line(root, x, _DOTS_TOP, x, _AXIS_Y, _FAINT)
        _text(root, x, _AXIS_Y + 16, f"{at:%d %b}", anchor="middle", size=11)
        if index == 0 or at.month == 1:
            _text(root, x, _AXIS_Y + 30, f"{at:%Y}", anchor="middle", size=11)


def _bands(
    root: ET.Element,
    scale: _Scale,
    name: str,
    told: Sequence[Mapping[str, str]],
    y: int,
    colours: Mapping[str, str],
) -> None:
    _text(root, 16, y + 17, {"state": "subscription", "level": "what debts close"}[name])
    for one in told:
        left, right = scale.x(_at(one["since"])), scale.x(_at(one["until"]))
        band = _rect(root, left, y, right - left, _BAND_HEIGHT, colours[one[name]])
        says = f"{one[name]}: {one['since'][:10]} to {one['until'][:10]}"
        ET.SubElement(band, "title").text = says
        if len(one[name]) * _LETTER < right - left:
            dark = one[name] in ("deprovision", "no_access")
            _text(root, left + 5, y + 17, one[name], ink="#ffffff" if dark else _INK)


def _invoices(root: ET.Element, scale: _Scale, told: Sequence[Mapping[str, Any]]) -> None:
    y = _STATE_Y - 26
    _text(root, 16, y + 4, "invoices")
    _line(root, _LEFT, y, _LEFT + scale.width, y, _FAINT)
    for one, x in _dots(scale, told):
        amount = money_text(Money(minor=one["total_minor"], currency=one["currency"]))
        dot = ET.SubElement(root, "circle", cx=f"{x:g}", cy=str(y), r="5")
        dot.set("fill", _DOTS[one["state"]])
        dot.set("stroke", _INK)
        says = f"{one['number']}: {amount}, {one['state']}, {one['at'][:10]}"
        ET.SubElement(dot, "title").text = says
        label = _text(root, x + 3, y - 11, amount, size=11)
        label.set("transform", f"rotate(-45 {x + 3:g} {y - 11})")


def _dots(
    scale: _Scale, told: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], float]]:
    for one in told:
        # What was made out before is no part of what is to come; a draft has no day yet.
        if one["at"] is not None and scale.since <= _at(one["at"]) <= scale.until:
            yield one, scale.x(_at(one["at"]))


def _legend(root: ET.Element, told: Mapping[str, Any]) -> None:
    rows = (
        ("invoices", _DOTS, [one["state"] for one in told["invoices"]]),
        ("subscription", _STATES, [one["state"] for one in told["states"]]),
        ("what debts close", _GATES, [one["level"] for one in told["gates"]]),
    )
    for row, (title, colours, names) in enumerate(rows):
        x, y = float(_LEFT), _LEGEND_Y + row * _LEGEND_HEIGHT
        _text(root, 16, y + 10, title, size=11)
        for name in dict.fromkeys(names):
            box = _rect(root, x, y, 12, 12, colours[name])
            box.set("stroke", _FAINT)
            _text(root, x + 17, y + 10, name, size=11)
            x += 36 + len(name) * _LETTER


def _rect(
    root: ET.Element, x: float, y: float, width: float, height: float, fill: str
) -> ET.Element:
    return ET.SubElement(
        root,
        "rect",
        x=f"{x:g}",
        y=f"{y:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        fill=fill,
    )


def _line(root: ET.Element, x1: float, y1: float, x2: float, y2: float, ink: str) -> ET.Element:
    return ET.SubElement(
        root, "line", x1=f"{x1:g}", y1=f"{y1:g}", x2=f"{x2:g}", y2=f"{y2:g}", stroke=ink
    )


def _text(
    root: ET.Element,
    x: float,
    y: float,
    said: str,
    *,
    size: int = 12,
    anchor: str = "start",
    ink: str = _INK,
) -> ET.Element:
    made = ET.SubElement(root, "text", x=f"{x:g}", y=f"{y:g}", fill=ink)
    made.set("font-size", str(size))
    made.set("text-anchor", anchor)
    made.text = said
    return made


def _at(told: str) -> datetime:
    return datetime.fromisoformat(told)
