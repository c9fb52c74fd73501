"""A lane from socket to sealed segment, in simulation: nothing lost that is not named, nothing twice, all in order.

A failure names its seed: `FLUXFORGE_SEED=<seed> pytest tests/sim -k <words of the scenario>` begins with it.
"""

import pytest

from tests.faults.mode import Runs
from tests.faults.table import FaultTable
from tests.sim.run import run
from tests.sim.scenarios import SCENARIOS, scenario

SLOW = {"two workers, one of them a zombie at times"}
"""Their calls take turns step by step: a run takes seconds."""

# A process that is killed leaves coroutines behind that nobody will ever run.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_captured_record_is_sealed_once_or_named(name: str, seed: int, runs: Runs, table: FaultTable) -> None:
    count = runs(bounded=6, full=40 if name in SLOW else 400)
    verdicts = [run(scenario(name, seed + n), seed + n) for n in range(count)]
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    table.add(
        fault=f"simulated: {name}",
        runs=count,
        lost=len(wrong),
        recoveries_s=[verdict.faults["recovered_ms"] / 1000 for verdict in verdicts if not verdict.wrong],
    )
    if wrong:
        pytest.fail(_report(name, wrong[0].seed, len(wrong), count), pytrace=False)


def test_a_seed_gives_the_same_run_again(seed: int) -> None:
    name = "everything at once"
    first, again = (run(scenario(name, seed), seed, is_traced=True) for _ in range(2))
    assert first.trace == again.trace


def _report(name: str, seed: int, count: int, of: int) -> str:
    verdict = run(scenario(name, seed), seed, is_traced=True)
    lines = [
        f"{count} of {of} runs went wrong, the first with FLUXFORGE_SEED={seed}: {name}",
        *(f"  {sentence}" for sentence in verdict.wrong),
        f"  faults: {verdict.faults}, starts: {verdict.starts}; the end of its story:",
        *(f"    {line}" for line in verdict.trace[-40:]),
    ]
    return "\n".join(lines)
