"""What goes wrong: at times and in places that the seed chooses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tests.sim.jetstream import Stream
from tests.sim.loop import Process
from tests.sim.world import CAPTURE, STORAGE, World

_MOMENTS = (3, 30, 300, 1500)


async def nemesis(world: World) -> None:
    """Do harm, each kind at its rate, until cancelled."""
    scenario = world.scenario
    kinds: dict[Callable[[World], Coroutine[Any, Any, None]], float] = {
        kill: scenario.kills,
        cut_power: scenario.power_cuts,
        take_bus_away: scenario.outages,
        break_connection: scenario.breaks,
        stop: scenario.stops,
        step_clock: scenario.clock_steps,
        lose_consumer: scenario.consumer_losses,
        lose_tail: scenario.tail_losses,
        lose_stream: scenario.stream_losses,
        lose_state: scenario.state_losses,
    }
    async with asyncio.TaskGroup() as tasks:
        for kind, rate in kinds.items():
            if rate:
                tasks.create_task(_repeat(world, kind, rate))


async def _repeat(world: World, kind: Callable[[World], Coroutine[Any, Any, None]], rate: float) -> None:
    while True:
        await asyncio.sleep(world.chance.expovariate(rate))
        world.faults[kind.__name__] = world.faults.get(kind.__name__, 0) + 1
        await kind(world)


def _some_process(world: World) -> Process | None:
    found = [process for process in world.living() if not process.is_stopped and process.doomed_in is None]
    return world.chance.choice(found) if found else None


async def kill(world: World) -> None:
    process = _some_process(world)
    if process is not None:
        process.doomed_in = world.chance.randrange(world.chance.choice(_MOMENTS))


async def cut_power(world: World) -> None:
    host = world.chance.choice((CAPTURE, STORAGE))
    victims = [process for process in world.living() if process.host == host]
    if victims and world.chance.random() < 0.7:
        victim = world.chance.choice(victims)
        victim.on_death.append(lambda: world.loop.call_soon(world.cut_power, host, context=world.neutral))
        victim.doomed_in = world.chance.randrange(world.chance.choice(_MOMENTS))
    else:
        world.cut_power(host)


async def take_bus_away(world: World) -> None:
    if not world.server.is_up:
        return
    world.loop.note("world", "bus away")
    world.server.is_up = False
    for connection in tuple(world.connections.values()):
        connection.drop()
    try:
        await asyncio.sleep(world.chance.choice((0.05, 0.5, 3.0, 15.0)) * world.chance.random())
    finally:
        world.server.restart()
        if world.chance.random() < 0.5:
            world.server.forget_ids()
        world.server.is_up = True
        world.loop.note("world", "bus back")
    await _link(world)


async def break_connection(world: World) -> None:
    connections = [connection for connection in world.connections.values() if connection.is_linked]
    if connections:
        world.chance.choice(connections).drop()
        if world.chance.random() < 0.3:
            world.server.forget_ids()
        await _link(world)


async def _link(world: World) -> None:
    await asyncio.sleep(world.chance.choice((0.01, 1.0, 4.0)) * world.chance.random())
    if world.server.is_up:
        for connection in tuple(world.connections.values()):
            connection.link()


async def stop(world: World) -> None:
    """Stop a process and continue it, perhaps long after its lease is over."""
    process = _some_process(world)
    if process is None or process.host == CAPTURE:
        return
    process.is_stopped = True
    world.loop.note(process, "STOPPED")
    await asyncio.sleep(world.chance.choice((0.5, 5.0, 40.0)) * world.chance.random())
    world.loop.note(process, "CONTINUED")
    world.loop.resume(process)


async def step_clock(world: World) -> None:
    clock = world.clocks[world.chance.choice((CAPTURE, STORAGE))]
    step_s = world.chance.choice((-30.0, -0.3, 0.2, 5.0, 3600.0)) * world.chance.random()
    clock.offset_ns = (
        max(clock.offset_ns, clock.offset_ns + int(step_s * 1e9))
        if step_s > 0
        else (clock.offset_ns + int(step_s * 1e9))
    )


async def lose_consumer(world: World) -> None:
    found = [
        consumer
        for stream in world.server.streams.values()
        for consumer in stream.consumers.values()
        if not consumer.is_explicit
    ]
    if found:
        world.server.end_consumer(world.chance.choice(found))


async def lose_tail(world: World) -> None:
    """Let the server come back without the last blocks that it acknowledged."""
    async with _restarted(world) as streams:
        for stream in streams[-1:]:
            # What a purge has left last was synced long ago: only a stream that was never purged can lose everything.
            count_max = len(stream.messages) - (stream.first_seq > 1)
            if not stream.config.get("sealed") and count_max > 0:
                count = world.chance.randint(1, min(count_max, world.chance.choice((1, 4, 30))))
                world.loop.note("world", f"{stream.config['name']} loses {count} of {len(stream.messages)}")
                world.server.lose_tail(stream, count)


async def lose_stream(world: World) -> None:
    async with _restarted(world) as streams:
        for stream in streams[-1:]:
            world.loop.note("world", f"{stream.config['name']} is gone")
            del world.server.streams[stream.config["name"]]


async def lose_state(world: World) -> None:
    async with _restarted(world):
        world.loop.note("world", "the lane states are gone")
        states = world.server.streams["KV_lanes"]
        for seq in list(states.messages):
            states.remove(seq)


@contextlib.asynccontextmanager
async def _restarted(world: World) -> AsyncIterator[list[Stream]]:
    """Give the lane's streams, oldest first, while the server is down."""
    was_up, world.server.is_up = world.server.is_up, False
    for connection in tuple(world.connections.values()):
        connection.drop()
    yield [stream for name, stream in world.server.streams.items() if name.startswith("MD_")]
    await asyncio.sleep(0.2 + world.chance.random())
    world.server.restart()
    world.server.is_up = was_up
    await _link(world)
