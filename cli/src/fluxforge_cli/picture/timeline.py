"""The timeline of a coverage: a row per feed, blue where it was captured whole, another colour in each hole. Pure.

A hole is drawn at least two pixels wide, however short it is: a day has more milliseconds than any screen.
Blue, as eyes that cannot tell red from green see holes in it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from fluxforge.domain.control import CRASH, LOST, Event
from fluxforge_cli.account.coverage.feeds import FeedCoverage, Piece
from fluxforge_cli.account.coverage.report import feed_name, moment, percent
from fluxforge_cli.picture.drawing import Anchor, Box, Drawing, Text

_WIDTH: Final = 1400
_LEFT: Final = 340
_RIGHT: Final = 90
_TOP: Final = 96
_BOTTOM: Final = 34
_ROW: Final = 20
_BAR: Final = 14
_HOLE_WIDTH_MIN: Final = 2.0
_SIZE: Final = 12.0
_TITLE_SIZE: Final = 16.0
_NAME_MAX: Final = 44
_TICKS_MAX: Final = 10
_S: Final = 1_000_000_000
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_FORMS: Final = ((86400, "%Y-%m-%d"), (60, "%H:%M"), (1, "%H:%M:%S"))
_GRID: Final = "#dddddd"
_FAINT: Final = "#f2f2f2"
_VERIFIED: Final = "#2f7fb8"
_UNVERIFIABLE: Final = "#b5d5ea"
_NOT_OBSERVED: Final = "not observed"
_HOLES: Final = {
    Event.GAP.value: ("gap", "#d62728"),
    Event.STALLED.value: ("stalled", "#ff9f1c"),
    Event.DISCONNECTED.value: ("disconnected", "#e05bb5"),
    Event.DROPPED.value: ("dropped or lost", "#111111"),
    LOST: ("dropped or lost", "#111111"),
    CRASH: ("crash", "#8c3b2a"),
    Event.STOPPED.value: ("stopped", "#9a9a9a"),
    Event.LANE_CLOSED.value: ("stopped", "#9a9a9a"),
    Event.STARTED.value: ("starting", "#f2dc7c"),
}
"""What a hole is called in the legend, by what opened it, and its colour."""


def timeline(found: Sequence[FeedCoverage], start_ns: int | None, end_ns: int | None) -> Drawing:
    """Return the picture of these feeds, never empty, between two times; None: as far as they were observed."""
    begin = min(one.from_ns for one in found) if start_ns is None else start_ns
    end = max(one.to_ns for one in found) if end_ns is None else end_ns
    scale = _Scale(begin, max(end, begin + 1))
    height = _TOP + _ROW * len(found) + _BOTTOM
    boxes: list[Box] = []
    texts = [Text(16, 28, "Coverage", _TITLE_SIZE, bold=True), Text(16, 48, _between(begin, end), _SIZE)]
    for box, text in _legend():
        boxes.append(box)
        texts.append(text)
    for at_ns, label in _ticks(begin, end):
        boxes.append(Box(scale.x(at_ns), _TOP - 6, 1, height - _TOP - _BOTTOM + 12, _GRID))
        texts.append(Text(scale.x(at_ns), height - 12, label, _SIZE, Anchor.MIDDLE))
    is_one_source = len({one.feed.source for one in found}) == 1
    for number, one in enumerate(found):
        top = _TOP + _ROW * number
        name = feed_name(one).removeprefix(f"{one.feed.source} " if is_one_source else "")
        texts.append(Text(_LEFT - 10, top + _BAR - 3, _short(name), _SIZE, Anchor.END))
        if one.observed_ns:
            share = f"{percent(one.covered_ns, one.observed_ns)} %"
            texts.append(Text(_WIDTH - 10, top + _BAR - 3, share, _SIZE, Anchor.END))
        boxes.append(Box(_LEFT, top, scale.width, _BAR, _FAINT, _NOT_OBSERVED))
        boxes += _bar(one, scale, top)
    return Drawing(_WIDTH, height, tuple(boxes), tuple(texts))


class _Scale:
    """Where times stand between the names and the shares."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self._begin_ns = begin_ns
        self._length_ns = end_ns - begin_ns
        self.width = _WIDTH - _LEFT - _RIGHT

    def x(self, at_ns: int) -> float:
        return _LEFT + self.width * (at_ns - self._begin_ns) / self._length_ns


def _bar(one: FeedCoverage, scale: _Scale, top: float) -> Iterator[Box]:
    """Yield what is whole as one, and each hole over it; of holes at one pixel the first of each kind."""
    if not one.observed_ns:
        return
    colour, word = (_VERIFIED, "verified") if one.is_verifiable else (_UNVERIFIABLE, "unverifiable")
    from_x, to_x = scale.x(one.from_ns), scale.x(one.to_ns)
    yield Box(from_x, top, max(to_x - from_x, _HOLE_WIDTH_MIN), _BAR, colour, f"{feed_name(one)}: covered, {word}")
    drawn: set[tuple[int, str]] = set()
    for piece in one.pieces:
        if piece.event is None:
            continue
        kind, colour = _HOLES[piece.event]
        x, width = scale.x(piece.from_ns), scale.x(piece.to_ns) - scale.x(piece.from_ns)
        if width >= _HOLE_WIDTH_MIN or (int(x), kind) not in drawn:
            drawn.add((int(x), kind))
            yield Box(x, top, max(width, _HOLE_WIDTH_MIN), _BAR, colour, f"{feed_name(one)}: {kind}, {_of(piece)}")


def _legend() -> Iterator[tuple[Box, Text]]:
    entries = {"verified": _VERIFIED, "unverifiable": _UNVERIFIABLE, **dict(_HOLES.values())}
    x = 16.0
    for word, colour in {**entries, _NOT_OBSERVED: _FAINT}.items():
        yield Box(x, 60, 14, 14, colour), Text(x + 20, 72, word, _SIZE)
        x += 44 + 7.2 * len(word)


def _ticks(begin_ns: int, end_ns: int) -> Iterator[tuple[int, str]]:
    """Yield whole times at a step that leaves room for their labels; days where it is long."""
    length_s = (end_ns - begin_ns) / _S
    step_s = next((step for step in _STEPS_S if length_s / step <= _TICKS_MAX), None)
    if step_s is None:
        step_s = _STEPS_S[-1] * -(-int(length_s) // (_STEPS_S[-1] * _TICKS_MAX))
    form = next(form for least_s, form in _FORMS if step_s >= least_s)
    step_ns = step_s * _S
    for at_ns in range(-(-begin_ns // step_ns) * step_ns, end_ns + 1, step_ns):
        yield at_ns, datetime.fromtimestamp(at_ns // _S, tz=UTC).strftime(form)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_MAX else f"{name[: _NAME_MAX - 1]}…"


def _of(piece: Piece) -> str:
    return f"{_between(piece.from_ns, piece.to_ns)} ({(piece.to_ns - piece.from_ns) / _S:,.3f} s)"


def _between(begin_ns: int, end_ns: int) -> str:
    return f"{moment(begin_ns)} to {moment(end_ns)} UTC"
