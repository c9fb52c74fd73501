"""A worker killed before every operation on the stores, and workers that meet at every one: one result, nothing left.

To be killed after an operation is to be killed before the next one, so that the former is all there is.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge.domain.errors import SegmentCorruptError
from fluxforge.ports.store import Store
from fluxforge_etl_worker.retire import Retirement
from fluxforge_etl_worker.work import Outcome, Worker
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    MS,
    T0,
    Recording,
    S,
    Sealed,
    options,
    sealed,
    stored,
    trade,
    worker_on,
)
from tests.unit.fluxforge_etl_worker.steps import At, KilledError, SteppedStore, Turns, everything, killed

FEEDS = (FeedKey("orderbook", "BTC-USDT"), FeedKey("trades", "BTC-USDT"))


def a_lane() -> list[Sealed]:
    """Return two segments with something of every kind: a channel of its own schema, and a line that is no record."""
    recording = Recording()
    recording.control(T0, Control(Event.STARTED, feeds=FEEDS))
    for n in range(1, 9):
        at = T0 + n * 700 * MS
        recording.book(at, BIDS, ASKS)
        recording.trades(at + 1, trade(str(n), "buy", 100.0 + n, 1.0))
        recording.add("greeks", "BTC/USDT", at + 2, {"delta": 0.5, "n": n})
    recording.ticker(T0 + 7 * S, last=1.0)
    first, second = sealed(recording.lines, [13])
    body = second.body + b"not a record\n"
    changed = {"size_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return [first, Sealed(replace(second.manifest, **changed), body)]


SEGMENTS = a_lane()
NAME = SEGMENTS[1].manifest.name
# What the rows are is no matter here: as few as there may be.
FEW = options(hf_interval_ns=60 * S, horizons_s=(1,), bar_durations_s=(1,))


def keeping(store: Store) -> Worker:
    return worker_on(store, options=FEW)


def deleting(store: Store) -> Worker:
    return replace(keeping(store), retirement=Retirement(sealed=True))


@cache
def begun() -> dict[str, bytes]:
    """Return a store's objects when the first segment is placed and the second is not."""
    store = MemoryStore()
    for segment in SEGMENTS:
        stored(store, segment.body, segment.manifest)
    keeping(store).process(LANE, SEGMENTS[0].manifest.name)
    return {key: store.read(key) for key in store.keys("")}


def world() -> MemoryStore:
    store = MemoryStore()
    for key, body in begun().items():
        store.create(key, body)
    return store


@pytest.mark.parametrize("kind", [keeping, deleting])
def test_killed_before_any_operation_and_started_again_everything_is_as_if_nothing_had_been(
    kind: Callable[[Store], Worker],
) -> None:
    reference = world()
    kind(reference).process(LANE, NAME)
    number = 0
    while True:
        store = world()
        step = At(number, killed)
        try:
            kind(SteppedStore(store, step)).process(LANE, NAME)
        except KilledError:
            kind(store).process(LANE, NAME)
        assert everything(store) == everything(reference), step.done[-1]
        if not step.was_reached:
            break
        number += 1
    assert number > 35


def test_killed_twice_and_started_again_everything_is_as_if_nothing_had_been() -> None:
    reference = world()
    deleting(reference).process(LANE, NAME)
    for seed in range(20):
        random, store = Random(seed), world()
        for _ in range(2):
            step = At(random.randrange(60), killed)
            try:
                deleting(SteppedStore(store, step)).process(LANE, NAME)
            except KilledError:
                continue
        deleting(store).process(LANE, NAME)
        assert everything(store) == everything(reference), seed


def test_killed_before_any_operation_of_marking_a_segment_dead_and_told_again_it_is_dead_once() -> None:
    error = SegmentCorruptError("key", "a", "b")

    def condemned_world() -> MemoryStore:
        store = world()
        # What an attempt left behind that was killed before it committed.
        store.create(f".tmp/{LANE}_{NAME}.1-0a1b2c3d/00001.parquet", b"rest")
        return store

    reference = condemned_world()
    keeping(reference).mark_dead(LANE, NAME, error)
    assert list(reference.keys(".tmp")) == []
    number = 0
    while True:
        store = condemned_world()
        step = At(number, killed)
        try:
            keeping(SteppedStore(store, step)).mark_dead(LANE, NAME, error)
        except KilledError:
            keeping(store).mark_dead(LANE, NAME, error)
        assert everything(store) == everything(reference), step.done[-1]
        if not step.was_reached:
            break
        number += 1
    assert number >= 4


@pytest.mark.parametrize(("first", "second"), [(keeping, keeping), (deleting, deleting), (keeping, deleting)])
def test_another_worker_may_do_all_of_it_between_any_two_operations(
    first: Callable[[Store], Worker], second: Callable[[Store], Worker]
) -> None:
    reference = world()
    second(reference).process(LANE, NAME)
    number = 0
    while True:
        store = world()
        others: list[Outcome] = []
        step = At(number, lambda store=store, others=others: others.append(second(store).process(LANE, NAME)))
        outcome = first(SteppedStore(store, step)).process(LANE, NAME)
        if not step.was_reached:
            break
        assert everything(store) == everything(reference), step.done[number]
        assert outcome.forged + others[0].forged == 1, step.done[number]
        assert outcome.rows == others[0].rows
        number += 1
    assert number > 35


@pytest.mark.parametrize("seed", range(12))
def test_workers_that_take_turns_at_every_operation_make_it_once(seed: int) -> None:
    reference = world()
    deleting(reference).process(LANE, NAME)
    store, random = world(), Random(seed)
    turns = Turns(random, workers=3)
    outcomes: list[Outcome] = []

    def work(_: int, step: Callable[[str], None]) -> None:
        outcomes.append(deleting(SteppedStore(store, step)).process(LANE, NAME))

    assert turns.take(work) == []
    assert sum(outcome.forged for outcome in outcomes) == 1
    assert everything(store) == everything(reference)


@pytest.mark.parametrize("seed", range(12))
def test_of_workers_that_take_turns_one_dies_and_another_finishes(seed: int) -> None:
    """Whoever lives finishes; after a restart a fresh worker finds no more to do than what the dead one left."""
    reference = world()
    deleting(reference).process(LANE, NAME)
    store, random = world(), Random(1000 + seed)
    turns = Turns(random, workers=2)
    deaths = random.randrange(70)

    def work(number: int, step: Callable[[str], None]) -> None:
        done = 0

        def dying(operation: str) -> None:
            nonlocal done
            step(operation)
            done += 1
            if number == 0 and done > deaths:
                raise KilledError

        deleting(SteppedStore(store, dying)).process(LANE, NAME)

    assert turns.take(work) == []
    deleting(store).process(LANE, NAME)
    assert everything(store) == everything(reference)
