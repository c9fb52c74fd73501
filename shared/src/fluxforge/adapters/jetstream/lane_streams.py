"""The streams of lanes: created with limits that refuse instead of dropping, purged, ended, and looked at by leader."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from fluxforge.adapters.jetstream.api import (
    EXPECTED_SEQUENCE,
    NS_PER_S,
    WRONG_LAST,
    Api,
    ApiError,
    ErrCode,
    StoredMessage,
)
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.domain.block import Block
from fluxforge.domain.errors import ConfigurationError, LaneBrokenError, RecordError
from fluxforge.domain.lane import LANE_SUBJECTS, Lane
from fluxforge.ports.lanes import LaneStreams, StoredBlock, StreamInfo

_DEDUPE_S = 120


class JetStreamLaneStreams(LaneStreams):
    """Creates, purges and ends lane streams, and reads single blocks of them."""

    def __init__(self, api: Api, options: BusOptions) -> None:
        self._api = api
        self._options = options

    @override
    async def create(self, lane: Lane, epoch: int, *, seed: Block | None = None) -> None:
        stream = lane.stream(epoch)
        try:
            await self._api.call(f"STREAM.CREATE.{stream}", self._config(lane, epoch))
        except ApiError as error:
            if error.err_code == ErrCode.STORAGE_EXCEEDED:
                raise ConfigurationError(
                    f"the bus has no room for stream {stream} of nats.lane_max_bytes = {self._options.lane_max_bytes}: "
                    "lower it, or give the server more storage"
                ) from error
            if error.err_code != ErrCode.STREAM_NAME_IN_USE:
                raise
        if seed is not None:
            await self._sow(lane, epoch, seed)

    @override
    async def end(self, lane: Lane, epoch: int) -> None:
        info = await self._api.stream_info(lane.stream(epoch))
        if info is None or info["config"]["sealed"]:
            return
        try:
            await self._api.call(f"STREAM.UPDATE.{lane.stream(epoch)}", {**info["config"], "sealed": True})
        except ApiError as error:
            if error.err_code != ErrCode.STREAM_NOT_FOUND:
                raise

    @override
    async def delete(self, lane: Lane, epoch: int) -> None:
        try:
            await self._api.call(f"STREAM.DELETE.{lane.stream(epoch)}")
        except ApiError as error:
            if error.err_code != ErrCode.STREAM_NOT_FOUND:
                raise

    @override
    async def epochs(self, lane: Lane) -> Sequence[int]:
        return sorted(epoch for found, epoch in await self._standing(lane.subjects) if found == lane)

    @override
    async def lanes(self) -> Sequence[Lane]:
        return sorted({lane for lane, _ in await self._standing(LANE_SUBJECTS)})

    @override
    async def info(self, lane: Lane, epoch: int) -> StreamInfo | None:
        info = await self._api.stream_info(lane.stream(epoch))
        if info is None:
            return None
        state, config = info["state"], info["config"]
        return StreamInfo(
            first_seq=state["first_seq"],
            last_seq=state["last_seq"],
            size_bytes=state["bytes"],
            size_bytes_max=config["max_bytes"],
            sealed=config["sealed"],
        )

    @override
    async def get(self, lane: Lane, epoch: int, stream_seq: int) -> StoredBlock | None:
        if stream_seq < 1:
            return None  # the server takes 0 for a request without a sequence, and refuses it
        message = await self._api.message(lane.stream(epoch), {"seq": stream_seq})
        return _stored_block(lane, message) if message else None

    @override
    async def last(self, lane: Lane, epoch: int) -> StoredBlock | None:
        message = await self._api.message(lane.stream(epoch), {"last_by_subj": lane.subject(epoch)})
        return _stored_block(lane, message) if message else None

    @override
    async def purge(self, lane: Lane, epoch: int, *, below_seq: int) -> None:
        info = await self.info(lane, epoch)
        if info is None:
            raise LaneBrokenError(str(lane), f"there is no stream {lane.stream(epoch)} to purge")
        # The last message is the fence; the stream only grows, so what was last now is never beyond it.
        keep_from_seq = min(below_seq, info.last_seq)
        if keep_from_seq > info.first_seq:
            await self._api.call(f"STREAM.PURGE.{lane.stream(epoch)}", {"seq": keep_from_seq})

    async def _standing(self, subjects: str) -> list[tuple[Lane, int]]:
        found = [Lane.of_stream(name) for name in await self._api.stream_names(subjects)]
        return [stream for stream in found if stream is not None]

    async def _sow(self, lane: Lane, epoch: int, seed: Block) -> None:
        try:
            await self._api.store(lane.subject(epoch), seed.payload, {**seed.headers(), EXPECTED_SEQUENCE: "0"})
        except ApiError as error:
            if error.err_code not in WRONG_LAST | {ErrCode.STREAM_SEALED}:
                raise
            first = await self.get(lane, epoch, 1)
            if first is None or first.block != seed:
                found = f"begins with {first.block.id}" if first else "holds no sequence 1"
                raise LaneBrokenError(
                    str(lane), f"stream {lane.stream(epoch)} {found}, not with the seed {seed.id}"
                ) from error

    def _config(self, lane: Lane, epoch: int) -> dict[str, Any]:
        return {
            "name": lane.stream(epoch),
            "subjects": [lane.subject(epoch)],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_bytes": self._options.lane_max_bytes,
            "max_msgs": -1,
            "max_msg_size": -1,
            "max_consumers": -1,
            "max_age": 0,
            "num_replicas": self._options.stream_replicas,
            "duplicate_window": _DEDUPE_S * NS_PER_S,
            "deny_delete": True,
            "allow_direct": False,
        }


def _stored_block(lane: Lane, message: StoredMessage) -> StoredBlock:
    try:
        return StoredBlock(message.seq, Block.from_message(message.headers, message.payload))
    except RecordError as error:
        raise LaneBrokenError(str(lane), f"sequence {message.seq} of {message.subject} is no block: {error}") from error
