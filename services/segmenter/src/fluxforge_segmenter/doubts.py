"""Doubts: what did not fit when it was read first; it is read again before it is believed, but not for ever."""

from typing import Final

from fluxforge.domain.errors import LaneBrokenError, SequenceGoneError
from fluxforge_segmenter.contents import ChainBrokenError

_BREAKS_MAX: Final = 5


class Doubts:
    """The places of the epoch being read that were doubted, and how often the stream broke without a place."""

    __slots__ = ("_breaks", "_places")

    def __init__(self) -> None:
        self._places: set[int] = set()
        self._breaks = 0

    def __contains__(self, stream_seq: int) -> bool:
        """Return whether this sequence, or what stands there, did not fit before."""
        return stream_seq in self._places

    def note(self, error: LaneBrokenError) -> None:
        """Take note of what did not fit.

        Raises:
            LaneBrokenError: The stream breaks again and again, and nothing is sealed in between.
        """
        match error:
            case SequenceGoneError():
                self._places.add(error.first)
            case ChainBrokenError():
                self._places.add(error.stream_seq)
            case _:
                self._breaks += 1
        if self._breaks > _BREAKS_MAX:
            raise error

    def settle(self) -> None:
        """Something was sealed: breaks count anew."""
        self._breaks = 0

    def clear(self) -> None:
        """Forget everything: another stream is read."""
        self._places.clear()
        self._breaks = 0
