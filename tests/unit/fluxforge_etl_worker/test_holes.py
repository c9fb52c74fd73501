"""Holes: messages that were gone before they were sealed, in the rows of their segment and of those after it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import FeedLast, Manifest, PreviousSegment
from fluxforge_etl_worker.holes import Hole, holes_of
from tests.faults.mode import Runs
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    T0,
    Recording,
    S,
    Sealed,
    manifest_of,
    options,
    placed_rows,
    sealed,
    stored,
    trade,
    worker_on,
)
from tests.unit.fluxforge_etl_worker.stories import AS_FOUND, Story, compare, lane_of, stories

BOOK = FeedKey("orderbook", "BTC-USDT")
RECORDS = ("orderbook/hf", "orderbook/bars", "orderbook/books", "trades", "ticker")
EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Torn:
    """A lane of which records are gone. `edges`: for each hole the line it stands before, and the times around it."""

    lines: list[bytes]
    records: list[dict]
    edges: list[tuple[int, tuple[int, int]]]

    @property
    def holes(self) -> list[tuple[int, int]]:
        return [times for _, times in self.edges]


def torn(recording: Recording, gone: Sequence[tuple[int, int]]) -> Torn:
    """Return a recording without these ranges of lines; neither its first nor its last line may be among them."""
    records = recording.records
    kept = [n for n in range(len(records)) if not any(begin <= n < end for begin, end in gone)]
    edges = [
        (number, (records[before]["capture_ns"], records[after]["capture_ns"]))
        for number, (before, after) in enumerate(pairwise(kept), start=1)
        if after > before + 1
    ]
    return Torn([recording.lines[n] for n in kept], [records[n] for n in kept], edges)


def segments_of(lane: Torn, cuts: Sequence[int], at_edges: Random) -> list[Sealed]:
    """Return the segments of a torn lane; a hole at a cut is told by the one before, the one after or one between."""
    made: list[Sealed] = []
    begin, previous = 0, None
    pieces = sealed(lane.lines, cuts)
    for number, piece in enumerate(pieces):
        end = begin + piece.body.count(b"\n")
        manifest = replace(piece.manifest, previous=previous)
        for line, times in lane.edges:
            if begin < line < end:
                manifest = with_hole(manifest, manifest.first + 1, times)
            elif line == begin:
                match at_edges.randrange(3):
                    case 0:
                        manifest = with_hole(manifest, manifest.first, times)
                    case 1:
                        before = made[-1].manifest
                        open_end = (times[0], times[0])
                        made[-1] = Sealed(with_hole(before, before.last, open_end), made[-1].body)
                    case _:
                        made.append(nothing_but_a_hole(made[-1].manifest, number, times[0]))
                        manifest = replace(manifest, previous=behind(made[-1].manifest))
        made.append(Sealed(manifest, piece.body))
        begin, previous = end, behind(manifest)
    return made


def behind(manifest: Manifest) -> PreviousSegment:
    return PreviousSegment(manifest.name, manifest.epoch, manifest.last_capture_ns)


def with_hole(manifest: Manifest, seq: int, times: tuple[int, int]) -> Manifest:
    return replace(manifest, holes=(*manifest.holes, (seq, seq)), hole_ns=(*manifest.hole_ns, times))


def nothing_but_a_hole(before: Manifest, number: int, from_ns: int) -> Sealed:
    name = f"segment_99990101T00_{number:05d}"
    manifest = replace(
        before,
        name=name,
        file=f"{name}.ndjson",
        first=before.last + 1,
        last=before.last + 9,
        records=0,
        size_bytes=0,
        sha256=EMPTY,
        first_capture_ns=before.last_capture_ns,
        last_capture_ns=before.last_capture_ns,
        feeds=(),
        holes=((before.last + 1, before.last + 9),),
        hole_ns=((from_ns, 0),),
        previous=behind(before),
        final=False,
    )
    return Sealed(manifest, b"")


def worked(segments: Sequence[Sealed], order: Random, **changes: object) -> MemoryStore:
    store = MemoryStore()
    for segment in segments:
        stored(store, segment.body, segment.manifest)
    worker = worker_on(store, options=options(**changes))
    for segment in order.sample(segments, len(segments)):
        worker.process(segment.manifest.lane, segment.manifest.name)
    return store


@pytest.mark.timeout(600)
def test_whatever_is_gone_and_wherever_the_cuts_are_the_rows_are_those_the_oracle_says(runs: Runs) -> None:
    @settings(AS_FOUND, max_examples=runs(bounded=15, full=150))
    @given(story=stories(steps_max=runs(bounded=25, full=40)), data=st.data(), seed=st.integers(0, 1000))
    def check(story: Story, data: st.DataObject, seed: int) -> None:
        size = len(story.lines)
        begins = data.draw(st.lists(st.integers(1, max(1, size - 2)), max_size=3))
        gone = [(begin, min(begin + Random(seed + begin).choice([1, 2, 9]), size - 1)) for begin in begins]
        lane = torn(story.recording, gone)
        places = data.draw(st.lists(st.integers(1, 60), max_size=5))
        cuts = [place for place in places if place < len(lane.lines)]
        cuts += [line for line, _ in lane.edges if data.draw(st.booleans())]
        store = worked(segments_of(lane, cuts, Random(seed)), Random(seed))
        told = lane_of(lane.records, options(), final=story.final, holes=lane.holes)
        compare(lambda dataset: placed_rows(store, dataset), told, RECORDS)

    check()


@pytest.mark.parametrize("cuts", [[], [5], [6]])
def test_what_was_told_before_a_hole_counts_no_more_in_it_wherever_the_lane_was_cut(cuts: list[int]) -> None:
    recording = a_book_lane(1)
    recording.control(T0 + 2 * S, Control(Event.STALLED, scope=BOOK))
    recording.restart("boot2")
    recording.control(T0 + 600 * S, Control(Event.STARTED, feeds=(BOOK,)))
    recording.control(T0 + 600 * S + 1, Control(Event.STALLED, scope=BOOK, repeat=True))  # gone
    recording.book(T0 + 601 * S, BIDS, ASKS)
    recording.control(T0 + 602 * S, Control(Event.STALLED, scope=BOOK, repeat=True))
    recording.book(T0 + 603 * S, BIDS, ASKS)
    lane = torn(recording, [(6, 7)])
    store = worked(segments_of(lane, cuts, Random(0)), Random(1))
    states = [row["book_state"] for row in placed_rows(store, "orderbook/hf") if row["ts_ns"] > T0 + 600 * S]
    assert states == ["suspect", "stale"]


def a_book_lane(seconds: int = 200) -> Recording:
    recording = Recording()
    recording.control(T0 - 2, Control(Event.STARTED, feeds=(BOOK,)))
    recording.control(T0 - 1, Control(Event.RESYNCED, scope=BOOK))
    for second in range(seconds):
        recording.book(T0 + second * S, BIDS, ASKS)
        recording.trades(T0 + second * S + 1, trade(str(second), "buy", 100.0, 1.0))
    return recording


@pytest.mark.parametrize("cut", [None, 0, 1, 2])
def test_the_book_is_suspect_and_no_bar_complete_from_a_hole_until_an_open_one_would_have_been_told(
    cut: int | None,
) -> None:
    lane = torn(a_book_lane(), [(2 + 2 * 70, 2 + 2 * 80)])  # books and trades of the seconds 70 to 79

    class Chosen(Random):
        def randrange(self, *_: int) -> int:
            return cut or 0

    segments = segments_of(lane, [] if cut is None else [lane.edges[0][0]], Chosen())
    store = worked(segments, Random(1))
    rows = {(row["ts_ns"] - T0) // S: row for row in placed_rows(store, "orderbook/hf")}
    states = {second: row["book_state"] for second, row in rows.items()}
    assert {second for second, state in states.items() if state == "suspect"} == set(range(80, 111))
    bars = [row for row in placed_rows(store, "orderbook/bars") if row["duration"] == 5]
    broken = {(row["ts_ns"] - T0) // S for row in bars if not row["complete"]}
    assert broken - {0} == {65, 80, 85, 90, 95, 100, 105, 110}
    assert {row["from_ns"] for row in lost(store)} == {T0 + 69 * S + 1}


def lost(store: MemoryStore) -> list[dict]:
    return [row for row in placed_rows(store, "coverage") if row["event"] == "lost"]


def test_a_record_that_says_that_a_feed_is_sound_ends_what_the_hole_left_open() -> None:
    recording = a_book_lane(100)
    recording.control(T0 + 100 * S, Control(Event.RESYNCED, scope=BOOK))
    recording.book(T0 + 100 * S + 1, BIDS, ASKS)
    recording.book(T0 + 101 * S, BIDS, ASKS)
    lane = torn(recording, [(150, 202)])
    store = worked(segments_of(lane, [], Random(0)), Random(1))
    after = [row["book_state"] for row in placed_rows(store, "orderbook/hf") if row["ts_ns"] > T0 + 100 * S]
    assert after == ["synced"]


def test_what_was_open_before_a_hole_and_told_after_it_stays_open() -> None:
    recording = a_book_lane(100)
    recording.control(T0 + 110 * S, Control(Event.GAP, scope=BOOK, repeat=True))
    for second in range(111, 160):
        recording.book(T0 + second * S, BIDS, ASKS)
    lane = torn(recording, [(150, 202)])
    store = worked(segments_of(lane, [], Random(0)), Random(1))
    states = {row["book_state"] for row in placed_rows(store, "orderbook/hf") if row["ts_ns"] > T0 + 111 * S}
    assert states == {"suspect"}


def test_a_lost_row_for_every_feed_known_in_the_lane() -> None:
    last_seqs = [FeedLast("trades", "B", "b", 1), FeedLast("orderbook", "A", "b", 9), FeedLast("control", None, "b", 3)]
    recording = Recording()
    recording.ticker(T0)
    recording.ticker(T0 + 9 * S)
    manifest = manifest_of(recording.body, first=T0, last=T0 + 9 * S, last_seqs=last_seqs)
    manifest = replace(manifest, holes=((2, 4), (5, 4)), hole_ns=((T0, T0 + 9 * S), (T0, T0 + 9 * S)))
    store = MemoryStore()
    stored(store, recording.body, manifest)
    worker_on(store).process(LANE, manifest.name)
    stream = "MD_ccxt_binance_0of1_1"
    found = sorted((row["seq"], row["channel"], row["symbol"], row["count"], row["hole"]) for row in lost(store))
    assert found == [
        (2, "orderbook", "A", 3, f"{stream}:2"),
        (2, "trades", "B", 3, f"{stream}:2"),
        (5, "orderbook", "A", 0, f"{stream}:5"),
        (5, "trades", "B", 0, f"{stream}:5"),
    ]
    assert {(row["from_ns"], row["to_ns"]) for row in lost(store)} == {(T0, T0 + 9 * S)}
    assert {row["reason"] for row in lost(store)} == {
        "messages 2 to 4 of the stream were gone before they were sealed",
        "message 5 of the stream does not follow the one before it",
    }


def test_a_lane_that_begins_with_nothing_but_a_hole_goes_on() -> None:
    whole = sealed(a_book_lane(40).lines)[0]
    hole = replace(
        nothing_but_a_hole(whole.manifest, 1, 0).manifest, first=1, last=5, holes=((1, 5),), last_seqs=(), previous=None
    )
    hole = replace(hole, first_capture_ns=0, last_capture_ns=0)
    after = replace(whole.manifest, first=6, previous=behind(hole))
    store = worked([Sealed(hole, b""), Sealed(after, whole.body)], Random(1))
    (row,) = lost(store)
    assert (row["channel"], row["symbol"], row["from_ns"], row["to_ns"]) == ("*", "*", hole.created_ns, None)
    states = [row["book_state"] for row in placed_rows(store, "orderbook/hf")]
    assert states == ["synced"] * 40  # each feed has shown itself at once


def test_an_empty_segment_is_placed_deleted_and_done_like_any_other() -> None:
    store = MemoryStore()
    before = sealed(a_book_lane(9).lines)[0]
    empty = nothing_but_a_hole(before.manifest, 1, before.manifest.last_capture_ns)
    stored(store, b"", empty.manifest)
    outcome = worker_on(store).process(LANE, empty.manifest.name)
    assert (outcome.forged, outcome.records, outcome.rows) == (True, 0, {"coverage": 2})
    assert not worker_on(store).process(LANE, empty.manifest.name).forged
    assert list(store.keys(".tmp")) == []
    assert store.size(f"commits/{LANE}/{empty.manifest.name}.placed") is not None


def test_a_manifest_that_does_not_say_when_its_hole_was_has_it_from_edge_to_edge() -> None:
    manifest = manifest_of(b"", first=T0, last=T0 + S, previous=PreviousSegment("before", 1, T0 - S))
    assert holes_of(replace(manifest, holes=((2, 3), (6, 7)))) == (Hole(T0 - S, T0 + S), Hole(T0 - S, None))
    assert holes_of(replace(manifest, previous=None, holes=((1, 3),))) == (Hole(0, T0 + S),)


def test_a_rescue_lane_yields_records_and_coverage_but_no_features_and_bars() -> None:
    rescue = Lane("ccxt", "binance", "0of1r9f3c21ab")
    recording = a_book_lane(90)
    recording.lane = rescue
    (segment,) = sealed(recording.lines, lane=rescue)
    store = MemoryStore()
    stored(store, segment.body, segment.manifest)
    outcome = worker_on(store).process(rescue, segment.manifest.name)
    assert outcome.rows == {"trades": 90, "orderbook/books": 90, "coverage": 2}
