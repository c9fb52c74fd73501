import asyncio

import pytest

from fluxforge_collector.coinbase_source.pace import Pacer, pace_of


async def test_the_urgent_come_before_all_who_wait() -> None:
    pacer = Pacer(0.02)
    came: list[str] = []

    async def come(name: str, *, is_urgent: bool = False) -> None:
        await pacer.turn(is_urgent=is_urgent)
        came.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in ("first", "second", "third"):
            tasks.create_task(come(name))
        for name in ("urgent", "urgent too"):
            tasks.create_task(come(name, is_urgent=True))
    assert came == ["first", "urgent", "urgent too", "second", "third"]


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    pacer = Pacer(0.02)
    await pacer.turn()
    for is_urgent in (True, False):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await pacer.turn(is_urgent=is_urgent)
    async with asyncio.timeout(30):
        await pacer.turn()


@pytest.mark.parametrize(("shards", "arriving"), [(1, 16), (4, 4), (16, 1), (40, 1)])
def test_collectors_share_what_the_venue_takes_of_an_address(shards: int, arriving: int) -> None:
    assert pace_of(shards).arriving._value == arriving
