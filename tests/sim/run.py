"""One run of the simulation: from a seed to a verdict."""

import traceback
from dataclasses import dataclass

from tests.sim.judge import judge
from tests.sim.nemesis import nemesis
from tests.sim.world import Scenario, World, world_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run."""

    seed: int
    wrong: tuple[str, ...]
    steps: int
    records: int
    faults: dict[str, int]
    starts: int
    trace: tuple[str, ...]


def run(scenario: Scenario, seed: int, *, is_traced: bool = False) -> Verdict:
    """Run one seed."""
    with world_of(scenario, seed) as world:
        if is_traced:
            world.loop.trace = []
        try:
            world.loop.run_until_complete(world.run(nemesis))
            wrong = judge(world)
        except Exception as error:  # noqa: BLE001 - whatever the code under test raises is a verdict
            where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
            wrong = [*world.loop.failures, f"{type(error).__name__}: {error} in {' < '.join(reversed(where))}"]
        return _verdict(world, seed, wrong)


def _verdict(world: World, seed: int, wrong: list[str]) -> Verdict:
    trace = tuple(f"{at:9.4f} {who}: {what}" for at, who, what in world.loop.trace or ())
    records = sum(sum(boot.captured.values()) for boot in world.boots)
    starts = sum(role.starts for role in world.roles)
    return Verdict(seed, tuple(wrong), world.loop.steps, records, world.faults, starts, trace)
