"""Blocks: the payload of one JetStream message: whole records of one lane, any feeds, in capture order.

The headers tell a segmenter everything it needs, so that nobody parses a record between socket and Parquet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from typing_extensions import override

from fluxforge.domain.errors import RecordError
from fluxforge.domain.instrument import decode_component, encode_component

MSG_ID: Final = "Nats-Msg-Id"
AFTER: Final = "Ff-After"
CAPTURE: Final = "Ff-Capture"
FEEDS: Final = "Ff-Feeds"


@dataclass(frozen=True, slots=True, order=True)
class BlockId:
    """`<boot>:<n>`: the n-th block of a collector process life, n from 1."""

    boot: str
    n: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id written as `<boot>:<n>`.

        Raises:
            RecordError: The text is no block id.
        """
        boot, _, n = text.partition(":")
        if not boot or not n.isdigit():
            raise RecordError(f"block id {text!r}: expected <boot>:<n>")
        return cls(boot, int(n))

    @override
    def __str__(self) -> str:
        """Return the id as it stands in headers, manifests and state."""
        return f"{self.boot}:{self.n}"


@dataclass(frozen=True, slots=True)
class FeedRange:
    """What one block holds of one feed: seqs first..last (inclusive), `count` records. Control: symbol None."""

    channel: str
    symbol: str | None
    first_seq: int
    last_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block: identity, the block before it in the lane, capture range (ns), feeds and payload.

    An empty seed block (payload b"", no feeds) opens an epoch; its capture range is that of the lane's last block.
    """

    id: BlockId
    after: BlockId | None
    first_capture_ns: int
    last_capture_ns: int
    feeds: tuple[FeedRange, ...]
    payload: bytes

    @property
    def records(self) -> int:
        """Number of records in the block."""
        return sum(feed.count for feed in self.feeds)

    def headers(self) -> dict[str, str]:
        """Return the message headers, without the expected sequence, which the publisher adds."""
        feeds = ",".join(
            f"{encode_component(f.channel)}:{encode_component(f.symbol) if f.symbol else ''}"
            f":{f.first_seq}:{f.last_seq}:{f.count}"
            for f in self.feeds
        )
        return {
            MSG_ID: str(self.id),
            AFTER: str(self.after) if self.after else "",
            CAPTURE: f"{self.first_capture_ns}-{self.last_capture_ns}",
            FEEDS: feeds,
        }

    @classmethod
    def from_message(cls, headers: Mapping[str, str], payload: bytes) -> Self:
        """Return the block of a stored message.

        Raises:
            RecordError: The headers are not those of a block.
        """
        try:
            first, _, last = headers[CAPTURE].partition("-")
            after = headers.get(AFTER, "")
            return cls(
                id=BlockId.parse(headers[MSG_ID]),
                after=BlockId.parse(after) if after else None,
                first_capture_ns=int(first),
                last_capture_ns=int(last),
                feeds=tuple(_feed_range(text) for text in headers.get(FEEDS, "").split(",") if text),
                payload=payload,
            )
        except (KeyError, ValueError) as error:
            raise RecordError(f"not a block: {error!r}") from error


def _feed_range(text: str) -> FeedRange:
    channel, symbol, first, last, count = text.split(":")
    return FeedRange(
        decode_component(channel), decode_component(symbol) if symbol else None, int(first), int(last), int(count)
    )
