"""The loop of a replay: its time is what it is told, and it tells when nothing is left to be done at that time."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from typing_extensions import override


class _Selector(selectors.SelectSelector):
    """Asked to wait, it says so and does not."""

    def __init__(self, idle: Callable[[float | None], float | None]) -> None:
        super().__init__()
        self._idle = idle

    @override
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout if timeout is not None and timeout <= 0 else self._idle(timeout))


class ReplayLoop(asyncio.SelectorEventLoop):
    """An event loop in told time, s. Whoever waits for timers outside of `settle` waits for none: time jumps there."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._settling: asyncio.Future[None] | None = None
        super().__init__(_Selector(self._idle))

    @override
    def time(self) -> float:
        return self._now_s

    def advance_to(self, now_s: float) -> None:
        """Let it be that late; what is due runs when the loop runs."""
        self._now_s = max(self._now_s, now_s)

    async def settle(self) -> None:
        """Return when everything has run that can run now."""
        self._settling = self.create_future()
        await self._settling

    def _idle(self, timeout_s: float | None) -> float | None:
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.set_result(None)
        elif timeout_s is None:
            return None
        else:
            self._now_s += timeout_s
        return 0
