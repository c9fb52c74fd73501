"""Lanes: (source, exchange, shard), the unit of order, of writing and of sealing.

One collector writes a lane, one JetStream stream per epoch holds it, one segmenter task seals it. This module is
the only builder of stream names, subjects, keys and folders of a lane.
"""

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from typing_extensions import override

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import check_venue

_SHARD = re.compile(r"(\d+)of(\d+)([bm]?)(?:r([0-9a-z]+))?")
LANE_SUBJECTS: Final = "md.>"
"""Every subject of every lane."""


MERGED_SHARD: Final = "0of1m"


class Leg(StrEnum):
    """Which of two collectors of the same feeds a lane is of, or what both became; the value ends the shard's name."""

    A = ""
    B = "b"
    MERGED = "m"


DATASET_SUFFIXES: Final = {Leg.A: "", Leg.B: ".b", Leg.MERGED: ".merged"}
"""What follows the source in the name that rows are found under."""


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """One lane. `shard` is `<i>of<n>`, `<i>of<n>b` for leg B of it, followed by `r<boot>` for a rescue lane.

    `0of1m` is no collector's: it names what the legs of an exchange were merged into.
    """

    source: str
    exchange: str
    shard: str

    def __post_init__(self) -> None:
        """Refuse names that could not stand in a stream name."""
        check_venue("source", self.source)
        check_venue("exchange", self.exchange)
        found = _SHARD.fullmatch(self.shard)
        if not found or int(found[1]) >= int(found[2]):
            raise NameRefusedError(
                "shard", self.shard, "expected <i>of<n> with i < n, such as 0of1, or 0of1b for leg B"
            )
        if found[3] == Leg.MERGED and self.shard != MERGED_SHARD:
            raise NameRefusedError("shard", self.shard, f"legs are merged by exchange: {MERGED_SHARD}")

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the lane of `<source>-<exchange>-<shard>`."""
        parts = name.split("-")
        if len(parts) != 3:  # noqa: PLR2004 - the three parts of the name
            raise NameRefusedError("lane", name, "expected <source>-<exchange>-<shard>")
        return cls(*parts)

    @override
    def __str__(self) -> str:
        """Return the lane's name, `<source>-<exchange>-<shard>`; it is the KV key too."""
        return f"{self.source}-{self.exchange}-{self.shard}"

    def stream(self, epoch: int) -> str:
        """Return the name of the lane's JetStream stream in an epoch."""
        return f"MD_{self.source}_{self.exchange}_{self.shard}_{epoch}"

    def subject(self, epoch: int) -> str:
        """Return the subject the lane's blocks are published to in an epoch."""
        return f"md.{self.source}.{self.exchange}.{self.shard}.{epoch}"

    @property
    def subjects(self) -> str:
        """The lane's subjects in every epoch."""
        return f"md.{self.source}.{self.exchange}.{self.shard}.*"

    @classmethod
    def of_stream(cls, name: str) -> tuple["Lane", int] | None:
        """Return lane and epoch of a stream's name; None for a stream that is no lane's."""
        match name.split("_"):
            case ["MD", source, exchange, shard, epoch] if epoch.isdigit():
                return cls(source, exchange, shard), int(epoch)
        return None

    @property
    def folder(self) -> str:
        """`<source>/<exchange>-<shard>`, below `raw/active` and `raw/ready`."""
        return f"{self.source}/{self.exchange}-{self.shard}"

    @property
    def is_rescue(self) -> bool:
        """Whether this lane holds what a fenced collector could still save."""
        return bool(self._parts[4])

    @property
    def index(self) -> int:
        """Which of the `shards` of the exchange this is, from 0."""
        return int(self._parts[1])

    @property
    def shards(self) -> int:
        """Into how many shards the feeds of the exchange are divided."""
        return int(self._parts[2])

    @property
    def leg(self) -> Leg:
        """Which of two collectors of the same feeds writes the lane."""
        return Leg(self._parts[3])

    @property
    def dataset_source(self) -> str:
        """The source its rows are found under, below `processed/`: `ccxt`, `ccxt.b` of leg B, `ccxt.merged` of both."""
        return f"{self.source}{DATASET_SUFFIXES[self.leg]}"

    @classmethod
    def merged(cls, source: str, exchange: str) -> Self:
        """Return the lane that names what the legs of an exchange were merged into."""
        return cls(source, exchange, MERGED_SHARD)

    @property
    def _parts(self) -> re.Match[str]:
        found = _SHARD.fullmatch(self.shard)
        assert found is not None
        return found


def shard_of(symbol: str, shards: int) -> int:
    """Return the shard a symbol belongs to: CRC-32 of its UTF-8 id, modulo the number of shards.

    All channels of a symbol fall together. CRC-32 is stable across processes, hosts and Python versions.
    """
    if shards < 1:
        raise ConfigurationError(f"shards: expected at least 1, was {shards}")
    return zlib.crc32(symbol.encode()) % shards
