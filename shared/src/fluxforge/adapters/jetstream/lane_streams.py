"""The streams of lanes: created with limits that refuse instead of dropping, looked at through their leader, purged."""

from typing import Any

from typing_extensions import override

from fluxforge.adapters.jetstream.api import NS_PER_S, Api, ApiError, ErrCode, StoredMessage
from fluxforge.adapters.jetstream.options import BusOptions
from fluxforge.domain.block import Block
from fluxforge.domain.errors import ConfigurationError, LaneBrokenError, RecordError
from fluxforge.domain.lane import Lane
from fluxforge.ports.lanes import LaneStreams, StoredBlock, StreamInfo

_DEDUPE_S = 120


class JetStreamLaneStreams(LaneStreams):
    """Creates and purges lane streams, and reads single blocks of them."""

    def __init__(self, api: Api, options: BusOptions) -> None:
        self._api = api
        self._options = options

    @override
    async def create(self, lane: Lane, epoch: int) -> None:
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
