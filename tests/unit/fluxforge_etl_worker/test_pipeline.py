"""What generated lanes become, in one piece and in any pieces, against the oracle."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Event, FeedKey
from fluxforge_etl_worker import stretch
from fluxforge_etl_worker.features.registry import all_features
from tests.faults.mode import Runs
from tests.unit.fluxforge_etl_worker import oracle
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    T0,
    Recording,
    S,
    forged,
    options,
    placed_rows,
    rows_of,
    sealed,
    stored,
    trade,
    worker_on,
)
from tests.unit.fluxforge_etl_worker.stories import AS_FOUND, DATASETS, Story, compare, lane_of, stories

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WHOLE = settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
INTERVALS = st.sampled_from([0, S, S // 4, 60 * S])
HORIZONS = st.sampled_from([(1, 5, 30, 60), (1, 5, 30, 60), (2, 45), (90,)])


@WHOLE
@given(
    story=stories(),
    interval_ns=INTERVALS,
    horizons=HORIZONS,
    chunk_bytes=st.sampled_from([97, 2_000, 1 << 20]),
    cells_max=st.sampled_from([0, 40, 2_000_000]),
)
def test_every_row_of_a_lane_is_what_the_oracle_says(
    story: Story, interval_ns: int, horizons: tuple[int, ...], chunk_bytes: int, cells_max: int
) -> None:
    chosen = options(hf_interval_ns=interval_ns, horizons_s=horizons)
    (whole,) = sealed(story.lines)
    manifest = whole.manifest
    assert manifest.final == story.final
    with pytest.MonkeyPatch.context() as patch:
        # A segment is worked through in stretches of so many levels: the cuts nobody sees.
        patch.setattr(stretch, "_CELLS_MAX", cells_max)
        result = forged(
            whole.body,
            chosen,
            chunk_bytes=chunk_bytes,
            first=manifest.first_capture_ns,
            last=manifest.last_capture_ns,
            final=manifest.final,
            last_seqs=manifest.last_seqs,
        )
    assert result.bad == ()
    compare(lambda dataset: rows_of(result, dataset), story.lane(chosen))


def test_whatever_the_cuts_and_the_order_of_the_work_the_rows_are_those_of_the_whole_lane(runs: Runs) -> None:
    steps_max = runs(bounded=25, full=40)

    @settings(AS_FOUND, max_examples=runs(bounded=8, full=100))
    @given(
        story=stories(steps_max=steps_max),
        interval_ns=INTERVALS,
        places=st.one_of(st.just(range(1000)), st.lists(st.integers(1, steps_max), max_size=6)),
        seed=st.integers(0, 1000),
    )
    def check(story: Story, interval_ns: int, places: Sequence[int], seed: int) -> None:
        chosen = options(hf_interval_ns=interval_ns)
        segments = sealed(story.lines, [place for place in places if place < len(story.lines)])
        store = MemoryStore()
        for segment in segments:
            stored(store, segment.body, segment.manifest)
        worker = worker_on(store, options=chosen)
        for segment in Random(seed).sample(segments, len(segments)):
            worker.process(segment.manifest.lane, segment.manifest.name)
        compare(lambda dataset: placed_rows(store, dataset), story.lane(chosen))

    check()


def edges() -> Story:
    """Return a lane whose records stand just as far apart as the rules say, or a nanosecond beside."""
    story, feed = Story(Recording(), T0 - 5), FeedKey("orderbook", "BTC-USDT")
    for offset_ns in (-5, S):  # the feed of trades begins between, just when the window of the second begins
        story.at = T0 + offset_ns
        story.recording.book(story.now(), BIDS, ASKS)
        story.at = max(story.at, T0)
        story.recording.trades(story.now(), trade(None, "buy", 100.0, 1.0))
    spans = (1, S, 5 * S, 30 * S, 60 * S, 61 * S, 65 * S, 90 * S, 120 * S)
    for span in spans:
        for off in (0, 1, -1):
            story.at = (story.at // (60 * S) + 3) * 60 * S  # nothing is known of what came before
            for begin in (story.at, story.at + span + off):
                story.at = max(story.at, begin)
                story.recording.book(story.now(), BIDS, ASKS)
                story.recording.trades(
                    story.now(), trade(f"{span} {off}", "buy", 100.0, 1.0), trade(None, "sell", 99.0, 2.0)
                )
            story.control(Event.GAP, [feed])
            story.at += max(0, span + off - 1)
            story.control(Event.RESYNCED, [feed])
            story.recording.book(story.now(), BIDS, ASKS)
    begin = (story.at // (60 * S) + 3) * 60 * S
    for offset_s, event in (
        (0, None),
        (1, Event.GAP),
        (2, Event.RESYNCED),
        (59, None),
        (116, None),
        (117, None),
        (118, None),
    ):
        story.at = begin + offset_s * S  # the hole is older than every window in which it still counts
        if event:
            story.control(event, [feed])
        else:
            story.recording.book(story.now(), BIDS, [[101.0, float(1 + offset_s)]])
    story.recording.ticker(story.at + 60 * S)
    return story


@pytest.mark.parametrize("every", [2, 1000])
@pytest.mark.parametrize("interval_ns", [0, S])
def test_what_stands_at_the_edge_of_a_rule_is_what_the_oracle_says(interval_ns: int, every: int) -> None:
    chosen, story, store = options(hf_interval_ns=interval_ns), edges(), MemoryStore()
    segments = sealed(story.lines, range(every, len(story.lines), every))
    for segment in segments:
        stored(store, segment.body, segment.manifest)
    worker = worker_on(store, options=chosen)
    for segment in segments:
        worker.process(segment.manifest.lane, segment.manifest.name)
    compare(lambda dataset: placed_rows(store, dataset), story.lane(chosen))


def test_the_oracle_knows_every_column() -> None:
    recording = Recording()
    recording.book(T0, BIDS, ASKS)
    recording.ticker(T0 + S)
    (row,) = oracle.hf_rows(lane_of(recording.records, options()))
    assert {feature.name for feature in all_features(10, (1, 5, 30, 60))} <= set(row)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_lane_that_holds_nothing_of_a_dataset_has_no_row_of_it(dataset: str) -> None:
    told, _ = DATASETS[dataset]
    recording = Recording()
    recording.add("ohlcv", "BTC/USDT", T0, {"open": 1.0})
    assert told(lane_of(recording.records, options())) == []
