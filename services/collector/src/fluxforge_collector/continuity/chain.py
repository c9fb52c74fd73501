"""Chains: the two ways in which venues number the updates of a feed, and what follows from a number. Pure.

A break is healed by a whole book alone; an id that was missing and arrives late heals nothing, since the update may
have been applied in the wrong order. A number that falls is never taken for a wrap: it is out of order, or begins anew.
"""

from collections import deque
from typing import Final

from fluxforge_collector.continuity.finding import Step, Verdict

_CONTINUED: Final = Step(Verdict.SOUND, is_sound=True)
_UNHEALED: Final = Step(Verdict.SUSPECT, is_sound=False)
_REMEMBERED: Final = 64
"""Updates by which a duplicate is told from one that is merely late."""


class RangeChain:
    """Updates that carry the ids they cover, each beginning one after the last: `first..last`, both included.

    A plain counter is a chain whose ranges hold one id.
    """

    __slots__ = ("_covered", "_is_sound", "_last", "_recent", "_run_first", "_stray")

    def __init__(self) -> None:
        self._last: int | None = None
        self._run_first = 0
        self._covered: int | None = None
        self._is_sound = False
        self._recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._stray: tuple[int, int] | None = None

    def snapshot(self, last: int) -> Step:
        """Take a whole book that holds everything up to an id; one older than what has come since heals nothing."""
        if self._last is not None and last + 1 < self._run_first:
            return self._gap(last + 1, self._run_first, "the book is older than the updates that can be joined to it")
        if self._last is None:
            self._last, self._run_first = last, last + 1
        self._is_sound = True
        self._covered = last if last >= self._last else None
        self._last = max(last, self._last)
        self._stray = None
        return Step(Verdict.RESYNCED, is_sound=True, got=last)

    def restart(self, last: int) -> Step:
        """Take a whole book that comes in order with the updates: whatever was before counts no more."""
        self._last, self._covered = last, None
        self._run_first = last + 1
        self._is_sound = True
        self._recent.clear()
        self._recent.append((last, last))
        self._stray = None
        return Step(Verdict.RESYNCED, is_sound=True, got=last)

    def update(self, first: int, last: int) -> Step:
        """Take an update of the ids `first..last`."""
        if first > last:
            return self.unplaced(f"ids {first}..{last} run backwards")
        if self._last is None:
            self._run_first, self._last = first, last
            self._recent.append((first, last))
            return self._in_sequence()
        if last <= self._last:
            return self._past(first, last)
        self._stray = self._covered = None
        self._recent.append((first, last))
        expected, self._last = self._last + 1, last
        if first <= expected:
            return self._in_sequence()
        self._run_first = first
        return self._gap(expected, first)

    def unplaced(self, reason: str) -> Step:
        """Take an update that does not say where it belongs."""
        expected = None if self._last is None else self._last + 1
        self._break()
        return Step(Verdict.GAP, is_sound=False, expected=expected, reason=reason)

    def heal(self) -> None:
        """Count the feed as sound again; for what is no state."""
        self._is_sound = True

    @property
    def is_begun(self) -> bool:
        """Whether anything came yet."""
        return self._last is not None

    def _in_sequence(self) -> Step:
        return _CONTINUED if self._is_sound else _UNHEALED

    def _past(self, first: int, last: int) -> Step:
        assert self._last is not None
        ids = (first, last)
        if ids in self._recent:
            if ids != self._recent[-1]:
                self._break()  # a client that applies it goes back in time; the newest one twice changes nothing
            return Step(Verdict.DUPLICATE, self._is_sound, self._last + 1, first)
        if self._covered is not None and last <= self._covered and self._is_sound:
            self._recent.append(ids)
            return self._in_sequence()  # the whole book that was fetched meanwhile holds it already
        expected = self._last + 1
        self._break()
        if self._stray is not None and first == self._stray[1] + 1:
            # Two in sequence, both from before: the venue counts anew, and waiting for the old ids would be for ever.
            self._run_first, self._last = self._stray[0], last
            self._covered = self._stray = None
            return Step(Verdict.GAP, is_sound=False, expected=expected, got=first, reason="the venue counts anew")
        self._stray = ids
        return Step(Verdict.OUT_OF_ORDER, is_sound=False, expected=expected, got=first)

    def _gap(self, expected: int, got: int, reason: str | None = None) -> Step:
        self._is_sound = False
        return Step(Verdict.GAP, is_sound=False, expected=expected, got=got, missing=got - expected, reason=reason)

    def _break(self) -> None:
        self._is_sound = False
        if self._last is not None:
            self._run_first = self._last + 1  # only a book fetched from here on is worth anything


class LinkChain:
    """Updates that name the one before them: `previous` and `this`. The ids between two updates mean nothing.

    `this` may be `previous` (nothing changed) or below it (the venue counts anew): the link is what counts.
    """

    __slots__ = ("_covered", "_in_band", "_is_sound", "_last", "_recent", "_run_previous")

    def __init__(self, *, in_band: bool) -> None:
        """Begin; `in_band`: the first whole book comes on the connection, so no update may come before it."""
        self._in_band = in_band
        self._last: int | None = None
        self._run_previous: int | None = None
        self._covered: int | None = None
        self._is_sound = False
        self._recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    def snapshot(self, last: int) -> Step:
        """Take a whole book fetched beside the connection, that holds everything up to an id."""
        if self._run_previous is not None and last < self._run_previous:
            reason = "the book is older than the updates that can be joined to it"
            self._is_sound = False
            return Step(Verdict.GAP, is_sound=False, expected=last, got=self._run_previous, reason=reason)
        self._is_sound = True
        self._covered = last
        return Step(Verdict.RESYNCED, is_sound=True, got=last)

    def restart(self, last: int) -> Step:
        """Take a whole book that comes in order with the updates: whatever was before counts no more."""
        self._last = self._run_previous = last
        self._covered = None
        self._is_sound = True
        self._recent.clear()
        return Step(Verdict.RESYNCED, is_sound=True, got=last)

    def update(self, previous: int, this: int) -> Step:
        """Take an update that follows `previous`."""
        if self._last is None:
            return self._begin(previous, this)
        if previous == self._last or self._is_covered(previous, this):
            return self._accept(previous, this)
        expected = self._last
        if (previous, this) in self._recent:
            if (previous, this) != self._recent[-1]:
                self._break()
            return Step(Verdict.DUPLICATE, self._is_sound, expected, previous)
        if this <= self._last and any(previous in link for link in self._recent):
            self._break()
            return Step(Verdict.OUT_OF_ORDER, is_sound=False, expected=expected, got=previous)
        self._accept(previous, this)
        self._run_previous, self._covered, self._is_sound = previous, None, False
        return Step(Verdict.GAP, is_sound=False, expected=expected, got=previous)

    def unplaced(self, reason: str) -> Step:
        """Take an update that does not say where it belongs."""
        self._break()
        return Step(Verdict.GAP, is_sound=False, expected=self._last, reason=reason)

    def _begin(self, previous: int, this: int) -> Step:
        joined = self._covered is None or previous <= self._covered
        expected = self._covered
        step = self._accept(previous, this)
        self._run_previous = previous
        if joined and not self._in_band:
            return step
        self._is_sound, self._covered = False, None
        reason = None if expected is not None else "an update before the first whole book"
        return Step(Verdict.GAP, is_sound=False, expected=expected, got=previous, reason=reason)

    def _is_covered(self, previous: int, this: int) -> bool:
        # What was lost before the fetched book is in it.
        return (
            self._covered is not None
            and self._last is not None
            and previous <= self._covered
            and self._last < this
            and self._last < previous
        )

    def _accept(self, previous: int, this: int) -> Step:
        self._last = this
        if previous != this:
            self._recent.append((previous, this))
        return _CONTINUED if self._is_sound else _UNHEALED

    def _break(self) -> None:
        self._is_sound = False
        self._covered = None
        self._run_previous = self._last


class ItemChain:
    """Numbered items that are no state, such as trades: one that is missing is named, and the next is sound again."""

    __slots__ = ("_chain",)

    def __init__(self) -> None:
        self._chain = RangeChain()

    def take(self, item: int) -> tuple[Step, ...]:
        """Take an item of this number; a gap comes with the new beginning behind it."""
        if not self._chain.is_begun:
            return (self._chain.restart(item),)
        step = self._chain.update(item, item)
        if step.verdict is Verdict.GAP:
            return (step, self._chain.restart(item))
        if step.verdict is Verdict.OUT_OF_ORDER or not step.is_sound:
            self._chain.heal()
            return (step._replace(is_sound=True),)
        return (step,)
