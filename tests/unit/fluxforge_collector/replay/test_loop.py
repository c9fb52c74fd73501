import asyncio
from collections.abc import Coroutine
from typing import Any

from fluxforge_collector.replay.loop import ReplayLoop

SOON_S = 1.0
LONG_S = 3_600.0
"""Of told time, which nobody waits for."""


def on_loop(work: Coroutine[Any, Any, None]) -> float:
    """Run on a loop of its own; return what time it is then."""
    loop = ReplayLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)
        return loop.time()


def now() -> ReplayLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ReplayLoop)
    return loop


def test_settling_lets_everything_run_that_can_and_no_time_pass() -> None:
    done: list[int] = []

    async def chain() -> None:
        for step in range(50):
            await asyncio.sleep(0)
            done.append(step)
        await asyncio.sleep(SOON_S)
        done.append(-1)

    async def body() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(chain())
            await now().settle()
            assert done == list(range(50))
            now().advance_to(0.5)
            await now().settle()
            assert done[-1] == 49
            now().advance_to(1.0)
            await now().settle()
            assert done[-1] == -1
            running.cancel()

    assert on_loop(body()) == 1.0


def test_time_never_goes_back_and_jumps_where_nobody_tells_it() -> None:
    async def body() -> None:
        now().advance_to(7)
        now().advance_to(5)
        await asyncio.sleep(LONG_S)

    assert on_loop(body()) >= 3_607
