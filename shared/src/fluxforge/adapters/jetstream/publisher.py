"""The publisher of a lane: a window of unacknowledged blocks, go-back-N, under the expected last sequence.

Kept: every block is sent with the sequence and, but for the first of an attempt, the id it must follow, so neither a
lost or late acknowledgement nor a second writer puts a block in twice, out of order or behind a stranger. On any
refusal, silence or reconnect the stream's last message decides from where the window is sent again. It persists
nothing: what is unacknowledged at `close` is the caller's.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from typing import Final

import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from typing_extensions import override

from fluxforge.adapters.jetstream.api import (
    EXPECTED_MESSAGE_ID,
    EXPECTED_SEQUENCE,
    JSON,
    SERVER_TROUBLE,
    WRONG_LAST,
    Api,
    ErrCode,
)
from fluxforge.adapters.jetstream.connection import until
from fluxforge.adapters.jetstream.lane_states import JetStreamLaneStates
from fluxforge.adapters.lane_window import Entry, Window, raise_if_moved
from fluxforge.domain.backoff import Backoff
from fluxforge.domain.block import AFTER, MSG_ID, Block, BlockId
from fluxforge.domain.errors import (
    BlockTooLargeError,
    BusUnavailableError,
    FatalError,
    FluxForgeError,
    LaneBrokenError,
    LaneMovedError,
)
from fluxforge.domain.lane import Lane
from fluxforge.ports.lanes import LanePublisher

_ACK_S: Final = 5.0
_TICK_S: Final = 0.5
_RETRY: Final = Backoff(base_s=0.1, cap_s=2.0)
_KNOWN: Final = WRONG_LAST | {0, ErrCode.STORE_FAILED, ErrCode.STREAM_NOT_FOUND, ErrCode.STREAM_SEALED}
_LINE_BYTES: Final = 4  # ": " and the line's end
_FRAME_BYTES: Final = 160  # first and last line, and the two expectations that are added when sent, less the id


class JetStreamPublisher(LanePublisher):
    """Publishes the blocks of one lane into one epoch's stream. Made by `Bus.publisher`."""

    def __init__(
        self, api: Api, lane: Lane, epoch: int, *, window: Window, window_blocks: int, ack_s: float = _ACK_S
    ) -> None:
        self._api = api
        self._connection = api.connection
        self._states = JetStreamLaneStates(api)
        self._lane = lane
        self._epoch = epoch
        self._subject = lane.subject(epoch)
        self._stream = lane.stream(epoch)
        self._window = window
        self._window_blocks = window_blocks
        self._ack_s = ack_s
        self._size_bytes_max = self._connection.client.max_payload
        self._inbox = self._connection.new_inbox()
        self._attempt = 0
        self._sent_seq = window.acked_seq  # up to here everything was handed to the socket in this attempt
        self._sent_s: deque[float] = deque()  # when; one for each entry up to there
        self._is_linked = False  # whether this attempt has sent a block the next one can name
        self._trouble: int | None = None  # the error code that ended the attempt, 0 for what passes by itself
        self._failures = 0
        self._is_full = False
        self._failure: FluxForgeError | None = None
        self._is_closed = False
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._ended = asyncio.Event()
        self._acks: Subscription | None = None
        self._pump: asyncio.Task[None] | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._unlisten = self._connection.listen(self._on_connection)

    async def start(self) -> None:
        """Listen for acknowledgements; nothing is published before."""
        self._acks = await self._connection.subscribe(f"{self._inbox}.*.*", self._on_ack)
        loop = asyncio.get_running_loop()
        self._pump = loop.create_task(self._run())  # outlives any caller's scope; its failure meets every caller
        self._tick = loop.call_later(_TICK_S, self._on_tick)

    @property
    @override
    def unacked(self) -> Sequence[Block]:
        return tuple(entry.block for entry in self._window)

    @property
    @override
    def acked(self) -> BlockId | None:
        return self._window.acked

    @override
    async def publish(self, block: Block) -> None:
        while len(self._window) >= self._window_blocks:
            await self._wait_for_progress()
        self._raise_if_failed()
        headers = block.headers()
        self._check_size(block, headers)
        entry = self._window.push(block, headers)
        if self._trouble is None and not self._is_full and self._sent_seq == entry.seq - 1:
            await self._send(entry)
        else:
            self._wake.set()

    @override
    async def settle(self, *, timeout_s: float) -> bool:
        return await until(timeout_s, self._settled())

    @override
    async def failed(self) -> None:
        await self._ended.wait()
        self._raise_if_failed()

    @override
    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._unlisten()
        if self._tick is not None:
            self._tick.cancel()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        if self._acks is not None:
            await self._connection.unsubscribe(self._acks)
        self._progress.set()

    async def _settled(self) -> None:
        self._raise_if_failed()
        while len(self._window):
            await self._wait_for_progress()

    async def _wait_for_progress(self) -> None:
        self._raise_if_failed()
        self._progress.clear()
        await self._progress.wait()
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._connection.raise_if_failed()
        if self._is_closed:
            raise LaneBrokenError(str(self._lane), "its publisher is closed")

    def _check_size(self, block: Block, headers: dict[str, str]) -> None:
        size_bytes = len(block.payload) + _FRAME_BYTES + len(headers[AFTER])
        size_bytes += sum(len(name) + len(value) + _LINE_BYTES for name, value in headers.items())
        if size_bytes > self._size_bytes_max:  # nats-py checks the payload alone; the server then closes for good
            raise BlockTooLargeError(str(block.id), size_bytes, self._size_bytes_max)

    async def _send(self, entry: Entry) -> None:
        headers = {**entry.headers, EXPECTED_SEQUENCE: str(entry.seq - 1)}
        if self._is_linked:
            headers[EXPECTED_MESSAGE_ID] = str(self._window.before(entry))
        self._sent_seq = entry.seq
        self._sent_s.append(asyncio.get_running_loop().time())
        self._is_linked = True
        reply = f"{self._inbox}.{self._attempt}.{entry.seq}"
        if not await self._connection.send(self._subject, entry.block.payload, reply, headers):
            self._stumble(0)

    def _on_ack(self, message: Msg) -> None:
        _, attempt, seq = message.subject.rsplit(".", 2)
        content = orjson.loads(message.data) if message.data else {"error": {}}  # empty: nobody serves the subject
        error = content.get("error")
        if error is None and content["seq"] == int(seq) and not content.get("duplicate"):
            self._store(int(seq))
        elif int(attempt) == self._attempt:
            self._stumble(trouble_of(error))

    def _store(self, seq: int) -> None:
        before = len(self._window)
        self._window.store(seq)
        for _ in range(min(before - len(self._window), len(self._sent_s))):
            self._sent_s.popleft()
        self._failures = 0
        if self._is_full:
            self._is_full = False
            self._wake.set()
        self._progress.set()

    def _stumble(self, err_code: int) -> None:
        """End the attempt; the pump finds out what is stored and begins the next."""
        if self._trouble is None:
            self._trouble = err_code
            self._attempt += 1
            self._wake.set()

    def _on_connection(self) -> None:
        self._stumble(0)
        self._wake.set()
        self._progress.set()

    def _on_tick(self) -> None:
        loop = asyncio.get_running_loop()
        if self._trouble is None and self._sent_s and self._sent_s[0] + self._ack_s < loop.time():
            self._stumble(0)
        self._tick = loop.call_later(_TICK_S, self._on_tick)

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._connection.is_connected:
                    await self._go_on()
        except FluxForgeError as failure:
            self._fail(failure)
        except Exception as error:  # noqa: BLE001 - a defect of ours must reach the caller, not end a task in silence
            self._fail(FatalError(f"lane {self._lane}: the publisher failed: {error!r}"))

    def _fail(self, failure: FluxForgeError) -> None:
        self._failure = failure
        self._ended.set()
        self._progress.set()

    async def _go_on(self) -> None:
        try:
            if self._trouble is not None:
                await self._recover(self._trouble)
            await self._send_rest()
        except BusUnavailableError:
            self._failures += 1
            await asyncio.sleep(_RETRY.delay_s(self._failures, random.random))
            self._wake.set()

    async def _recover(self, err_code: int) -> None:
        self._raise_unless_known(err_code)
        self._is_full = err_code == ErrCode.STORE_FAILED
        self._failures += 1
        if self._failures > 1 or self._is_full:
            await asyncio.sleep(_RETRY.delay_s(self._failures, random.random))
        acked_seq = self._window.acked_seq
        state = await self._states.get(self._lane)  # before the stream, which only grows
        info = await self._api.stream_info(self._stream)
        if info is None:
            raise self._moved("does not exist")
        last = await self._api.message(self._stream, {"last_by_subj": self._subject})
        if last is None and info["state"]["messages"]:  # a disk that fails: what cannot be read is not lost
            raise BusUnavailableError(f"look at {self._stream}", "the server cannot read its last message")
        last_seq = last.seq if last else info["state"]["last_seq"]
        if state is not None:
            raise_if_moved(self._lane, self._epoch, state.state, last_seq)
        if last_seq >= self._window.acked_seq or acked_seq == self._window.acked_seq:
            self._window.reconcile(last_seq, BlockId.parse(last.headers.get(MSG_ID, "")) if last else None)
        # Else acknowledgements overtook the answer, which is older than what we know.
        if info["config"]["sealed"] and len(self._window):
            raise self._moved("is sealed")
        self._begin_attempt()

    def _begin_attempt(self) -> None:
        self._attempt += 1
        self._sent_seq = self._window.acked_seq
        self._sent_s.clear()
        self._is_linked = False
        self._trouble = None
        self._progress.set()

    def _moved(self, found: str) -> LaneMovedError:
        return LaneMovedError(str(self._lane), f"stream {self._stream} {found}")

    def _raise_unless_known(self, err_code: int) -> None:
        if err_code not in _KNOWN:
            raise LaneBrokenError(str(self._lane), f"stream {self._stream} refuses blocks with error {err_code}")

    async def _send_rest(self) -> None:
        """Send what this attempt has not sent; of a stream that was full, one block to see whether it still is."""
        for entry in tuple(self._window.from_seq(self._sent_seq + 1)):
            if self._trouble is not None or (self._is_full and self._sent_s):
                break
            await self._send(entry)


def trouble_of(error: JSON | None) -> int:
    """Return the code of a refusal the window must know of; 0 where sending again is all there is to do."""
    if error is None:  # stored, but elsewhere than expected or long ago: the last message tells
        return 0
    err_code = int(error.get("err_code", 0))
    is_passing = error.get("code", 0) >= SERVER_TROUBLE and err_code != ErrCode.STORE_FAILED
    return 0 if is_passing else err_code
