import os
import signal
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from fluxforge.adapters.local_store import LocalStore
from fluxforge.adapters.system_clock import SystemClock
from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.errors import (
    DurabilityError,
    FluxForgeError,
    NameRefusedError,
    SegmentCorruptError,
    StoreUnavailableError,
)
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import PreviousSegment
from fluxforge_etl_worker.alone import DiedAloneError, ProcessUnavailableError, _death, process_alone
from fluxforge_etl_worker.work import Outcome, Worker
from tests.unit.fluxforge_etl_worker.samples import LANE, OPTIONS, SEGMENT, T0, Recording, S, manifest_of, stored

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


class Deadly(LocalStore):
    """Reading the data of the first segment kills, or raises what nobody expects."""

    @override
    def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        if key.endswith(f"{SEGMENT}.ndjson"):
            if (self.base_dir / "lethal").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("too much")
        return super().read(key, offset=offset, length=length)


@pytest.mark.parametrize("how", ["kills", "raises"])
def test_an_earlier_segment_that_kills_whoever_reads_it_condemns_no_other(tmp_path: Path, how: str) -> None:
    if how == "kills":
        (tmp_path / "lethal").touch()
    store = Deadly(tmp_path, sync=False)
    worker = Worker(store, store, OPTIONS, SystemClock())
    recording = Recording()
    recording.ticker(T0, last=1.0)
    first = stored(store, recording.body, manifest_of(recording.body, last=T0))
    recording.lines.clear()
    recording.ticker(T0 + S, last=2.0)
    # Tickers need no context; a start without a stop does: how the boot before ended stands in the segment before.
    feeds = (FeedKey("ticker", "BTC-USDT"),)
    recording.control(T0 + 2 * S, Control(Event.STARTED, feeds=feeds, after=After("01dboot0", 9, T0)))
    previous = PreviousSegment(first.name, 1, T0)
    later = manifest_of(
        recording.body, name="segment_20231114T22_00002", first=T0 + S, last=T0 + 2 * S, previous=previous
    )
    stored(store, recording.body, later)
    with pytest.raises(ProcessUnavailableError, match=f"without the tail of {SEGMENT}"):
        process_alone(worker, LANE, later.name)
    assert store.size(f"tails/{LANE}/{SEGMENT}.tail.dead") is not None
    assert process_alone(worker, LANE, later.name).forged
    with pytest.raises(DiedAloneError):
        process_alone(worker, LANE, SEGMENT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_process_that_somebody_ended_before_it_worked_says_nothing_of_its_segment(number: signal.Signals) -> None:
    assert isinstance(_death(SEGMENT, -number), ProcessUnavailableError)
