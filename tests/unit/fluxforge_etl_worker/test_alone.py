import os
import signal
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.errors import (
    DurabilityError,
    FluxForgeError,
    NameRefusedError,
    SegmentCorruptError,
    StoreUnavailableError,
)
from fluxforge.domain.lane import Lane
from fluxforge_etl_worker.alone import DiedAloneError, ProcessUnavailableError, _death, process_alone
from fluxforge_etl_worker.work import Outcome, Worker
from tests.unit.fluxforge_etl_worker.samples import LANE, OPTIONS, SEGMENT, T0, Recording, manifest_of, stored

pytestmark = pytest.mark.slow


class Raising(Worker):
    """Fails as the name of the segment says."""

    errors: ClassVar[dict[str, Exception]] = {
        "corrupt": SegmentCorruptError("key", "a", "b"),
        "away": StoreUnavailableError("read", "key", "away"),
        "untrusted": DurabilityError("fsync failed"),
        "refused": NameRefusedError("symbol", "x", "too long"),
        "bug": ZeroDivisionError("oh"),
    }

    @override
    def process(self, lane: Lane, segment: str) -> Outcome:
        if segment in self.errors:
            raise self.errors[segment]
        if segment == "exit":
            os._exit(7)
        os.kill(os.getpid(), signal.Signals[segment])
        return super().process(lane, SEGMENT)


def worker_in(folder: Path, kind: type[Worker] = Raising) -> Worker:
    store = LocalStore(folder, sync=False)
    return kind(store, store, OPTIONS, SystemClock())


def test_what_a_process_of_its_own_makes_is_what_the_worker_makes(tmp_path: Path) -> None:
    recording = Recording()
    recording.ticker(T0, last=1.0)
    worker = worker_in(tmp_path, Worker)
    stored(worker.raw, recording.body, manifest_of(recording.body, last=T0))
    outcome = process_alone(worker, LANE, SEGMENT)
    assert (outcome.forged, outcome.rows) == (True, {"ticker": 1})
    assert not worker.process(LANE, SEGMENT).forged


@pytest.mark.parametrize("segment", ["corrupt", "away", "untrusted"])
def test_an_error_keeps_its_kind_and_its_fields(tmp_path: Path, segment: str) -> None:
    error = Raising.errors[segment]
    with pytest.raises(FluxForgeError) as raised:
        process_alone(worker_in(tmp_path), LANE, segment)
    assert (type(raised.value), str(raised.value), vars(raised.value)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("segment", "said"),
    [("refused", "too long"), ("bug", "ZeroDivisionError: oh"), ("exit", "exit code 7"), ("SIGKILL", "Killed")],
)
def test_what_would_end_every_worker_condemns_the_segment(tmp_path: Path, segment: str, said: str) -> None:
    with pytest.raises(DiedAloneError, match=said):
        process_alone(worker_in(tmp_path), LANE, segment)


def test_the_signals_of_a_drain_are_the_parents_business(tmp_path: Path) -> None:
    recording = Recording()
    recording.ticker(T0, last=1.0)
    worker = worker_in(tmp_path)
    stored(worker.raw, recording.body, manifest_of(recording.body, last=T0))
    assert process_alone(worker, LANE, "SIGTERM").forged


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_process_that_somebody_ended_before_it_worked_says_nothing_of_its_segment(number: signal.Signals) -> None:
    assert isinstance(_death(SEGMENT, -number), ProcessUnavailableError)
