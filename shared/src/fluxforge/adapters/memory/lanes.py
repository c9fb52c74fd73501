"""Lanes in memory: states, leases, streams, reader and publisher, under the contract of the bus port."""

from collections.abc import Sequence

from typing_extensions import override

from fluxforge.adapters.memory.server import Changes, MemoryServer, MemoryStream
from fluxforge.domain.block import Block
from fluxforge.domain.errors import LaneBrokenError, SequenceGoneError, StateConflictError
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import LaneState
from fluxforge.ports.lanes import (
    LaneReader,
    LaneStates,
    LaneStreams,
    Leases,
    StoredBlock,
    StreamInfo,
    VersionedState,
)

_GONE = "is gone"


class MemoryLaneStates(LaneStates):
    """Lane states by compare-and-set."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    @override
    async def lanes(self) -> Sequence[Lane]:
        self._server.require("list lanes")
        return sorted(Lane.parse(key) for key in self._server.states)

    @override
    async def get(self, lane: Lane) -> VersionedState | None:
        self._server.require(f"get state {lane}")
        found = self._server.states.get(str(lane))
        return VersionedState(LaneState.from_json(found[0]), found[1]) if found else None

    @override
    async def create(self, lane: Lane) -> None:
        self._server.require(f"create state {lane}")
        if str(lane) not in self._server.states:
            self._server.states[str(lane)] = (LaneState().to_json(), self._server.next_revision())
            self._server.tell()

    @override
    async def update(self, lane: Lane, state: LaneState, revision: int) -> int:
        self._server.require(f"update state {lane}")
        _, current = self._server.states.get(str(lane), (b"", 0))
        if current != revision:
            raise StateConflictError(str(lane), revision)
        self._server.states[str(lane)] = (state.to_json(), self._server.next_revision())
        self._server.tell()
        return self._server.states[str(lane)][1]

    @override
    async def delete(self, lane: Lane, *, revision: int) -> None:
        self._server.require(f"delete state {lane}")
        _, current = self._server.states.get(str(lane), (b"", revision))
        if current != revision:
            raise StateConflictError(str(lane), revision)
        self._server.states.pop(str(lane), None)
        self._server.tell()


class MemoryLeases(Leases):
    """Leases that expire by the server's clock."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    @override
    async def acquire(self, key: str, holder: str) -> int | None:
        self._server.require(f"acquire {key}")
        found = self._standing(key)
        if found is None:
            return self._write(key, holder)
        return found[1] if found[0] == holder else None

    @override
    async def renew(self, key: str, holder: str, revision: int) -> int:
        self._server.require(f"renew {key}")
        if self._standing(key) != (holder, revision):
            raise StateConflictError(key, revision)
        return self._write(key, holder)

    @override
    async def release(self, key: str, revision: int) -> None:
        self._server.require(f"release {key}")
        found = self._standing(key)
        if found is not None and found[1] == revision:
            del self._server.leases[key]

    def _standing(self, key: str) -> tuple[str, int] | None:
        holder, revision, expiry_ns = self._server.leases.get(key, ("", 0, 0))
        return (holder, revision) if expiry_ns > self._server.clock.monotonic_ns() else None

    def _write(self, key: str, holder: str) -> int:
        revision = self._server.next_revision()
        expiry_ns = self._server.clock.monotonic_ns() + self._server.lease_ttl_ns
        self._server.leases[key] = (holder, revision, expiry_ns)
        return revision


class MemoryLaneStreams(LaneStreams):
    """The lanes' streams."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    @override
    async def create(self, lane: Lane, epoch: int, *, seed: Block | None = None) -> None:
        self._server.require(f"create {lane.stream(epoch)}")
        stream = self._server.streams.setdefault(lane.stream(epoch), MemoryStream(self._server.lane_max_bytes))
        if seed is not None and stream.last_seq == 0 and not stream.is_sealed:
            stream.append(seed)
        if seed is not None and stream.blocks.get(1) != seed:
            first = stream.blocks.get(1)
            found = f"begins with {first.id}" if first else "holds no sequence 1"
            raise LaneBrokenError(str(lane), f"stream {lane.stream(epoch)} {found}, not with the seed {seed.id}")
        self._server.tell()

    @override
    async def end(self, lane: Lane, epoch: int) -> None:
        stream = self._find(lane, epoch)
        if stream is not None:
            stream.is_sealed = True
            self._server.tell()

    @override
    async def delete(self, lane: Lane, epoch: int) -> None:
        self._server.require(f"delete {lane.stream(epoch)}")
        self._server.streams.pop(lane.stream(epoch), None)
        self._server.tell()

    @override
    async def epochs(self, lane: Lane) -> Sequence[int]:
        return sorted(epoch for found, epoch in self._standing() if found == lane)

    @override
    async def lanes(self) -> Sequence[Lane]:
        return sorted({lane for lane, _ in self._standing()})

    @override
    async def info(self, lane: Lane, epoch: int) -> StreamInfo | None:
        stream = self._find(lane, epoch)
        if stream is None:
            return None
        return StreamInfo(
            first_seq=stream.first_seq,
            last_seq=stream.last_seq,
            size_bytes=stream.size_bytes,
            size_bytes_max=stream.size_bytes_max,
            sealed=stream.is_sealed,
        )

    @override
    async def get(self, lane: Lane, epoch: int, stream_seq: int) -> StoredBlock | None:
        stream = self._find(lane, epoch)
        block = stream.blocks.get(stream_seq) if stream else None
        return StoredBlock(stream_seq, block) if block else None

    @override
    async def last(self, lane: Lane, epoch: int) -> StoredBlock | None:
        stream = self._find(lane, epoch)
        return await self.get(lane, epoch, stream.last_seq) if stream else None

    @override
    async def purge(self, lane: Lane, epoch: int, *, below_seq: int) -> None:
        stream = self._find(lane, epoch)
        if stream is None:
            raise LaneBrokenError(str(lane), f"there is no stream {lane.stream(epoch)} to purge")
        stream.purge(below_seq)
        self._server.tell()

    def _standing(self) -> list[tuple[Lane, int]]:
        self._server.require("list streams")
        found = [Lane.of_stream(name) for name in self._server.streams]
        return [stream for stream in found if stream is not None]

    def _find(self, lane: Lane, epoch: int) -> MemoryStream | None:
        self._server.require(f"look at {lane.stream(epoch)}")
        return self._server.streams.get(lane.stream(epoch))


class MemoryReader(LaneReader):
    """Reads a stream in order. Made by `MemoryBus.reader`."""

    def __init__(self, server: MemoryServer, lane: Lane, epoch: int, *, from_seq: int) -> None:
        self._server = server
        self._lane = lane
        self._stream = lane.stream(epoch)
        self._next_seq = from_seq
        self._found: MemoryStream | None = None
        self._changes = Changes(server)

    @override
    async def fetch(self, *, blocks_max: int, wait_s: float) -> Sequence[StoredBlock]:
        deadline_ns = self._server.clock.monotonic_ns() + int(wait_s * 1e9)
        while not (blocks := self._standing(blocks_max)):
            left_s = (deadline_ns - self._server.clock.monotonic_ns()) / 1e9
            if not await self._changes.wait(left_s):
                break
        self._next_seq += len(blocks)
        return blocks

    @override
    async def close(self) -> None:
        self._changes.stop()

    def _standing(self, blocks_max: int) -> list[StoredBlock]:
        if not self._server.is_available:
            return []
        stream = self._server.streams.get(self._stream)
        if stream is None or stream.last_seq < self._next_seq - 1:
            found = f"ends at sequence {stream.last_seq}, {self._next_seq - 1} was read from it" if stream else _GONE
            raise LaneBrokenError(str(self._lane), f"stream {self._stream} {found}")
        if self._found not in (None, stream):
            raise LaneBrokenError(str(self._lane), f"stream {self._stream} was created anew")
        self._found = stream
        blocks: list[StoredBlock] = []
        for seq in range(self._next_seq, min(stream.last_seq, self._next_seq + blocks_max - 1) + 1):
            if seq not in stream.blocks:
                break
            blocks.append(StoredBlock(seq, stream.blocks[seq]))
        if not blocks and self._next_seq <= stream.last_seq:
            raise self._gone(stream)
        return blocks

    def _gone(self, stream: MemoryStream) -> SequenceGoneError:
        standing = min((seq for seq in stream.blocks if seq > self._next_seq), default=stream.last_seq + 1)
        found = f"stream {self._stream} holds no sequence {self._next_seq} any more"
        return SequenceGoneError(str(self._lane), found, self._next_seq, standing - 1)
