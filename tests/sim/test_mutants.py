"""The simulation can fail: rules that are broken on purpose are noticed within a few seeds."""

from typing import Any

import pytest

from fluxforge_collector.lane_writer import LaneWriter
from fluxforge_collector.spool import Spool
from fluxforge_segmenter import tending
from tests.sim.run import run
from tests.sim.scenarios import scenario

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
_SEEDS = 150


def _nothing(*_: Any) -> None:
    """Leave a step out."""


def _forget_drops(writer: LaneWriter, _now_ns: int) -> None:
    writer._drops = {}


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "broken"),
    [
        ("hosts lose power at any moment", Spool, "_sync", _nothing),
        ("the stream is full and the spool small", LaneWriter, "_report_drops", _forget_drops),
        ("processes are killed at any moment", tending, "purge_below", lambda _state, info, **_: info.last_seq),
    ],
    ids=["spool without fsync", "drops without a name", "purge before the seal"],
)
def test_a_broken_rule_is_noticed(
    name: str, owner: object, attribute: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, attribute, broken)
    assert any(run(scenario(name, seed), seed).wrong for seed in range(_SEEDS))
