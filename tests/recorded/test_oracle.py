"""Recorded lanes of six exchanges, captured and sealed by the true services: every column against the oracle."""

from random import Random

import pytest

from fluxforge.adapters.memory.store import MemoryStore
from tests.recorded.lanes import DEPTH, VENUES, RecordedLane, Venue, recorded_lanes
from tests.recorded.recordings import BinanceRecording
from tests.unit.fluxforge_etl_worker.samples import forged, options, placed_rows, rows_of, sealed, stored, worker_on
from tests.unit.fluxforge_etl_worker.stories import DATASETS, compare, lane_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CONTRACTS = ("binanceusdm", "binancecoinm")
LONG = ("binance", *CONTRACTS)
"""Recordings of more than a minute: every window is observed."""
ROWS_MAX = 40
"""Rows of one lane that the oracle computes where every update is a row: it takes some ms for each."""
RECORDS_MAX = 6_000
"""Records of one lane that the oracle reads: the first minutes of the long ones."""
LINES_CUT = 2_500
BY_A_HAIR_MAX = 5
NEVER_THERE = {
    *("band_imbalance_5_10bps", "band_imbalance_10_25bps", "taker_or_maker", "source_kind"),
    *("hole", "count", "first_seq", "last_seq"),
}
"""Fifty levels do not reach so far, and nothing was dropped."""


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RecordedLane]:
    return recorded_lanes(tmp_path_factory.mktemp("lanes"))


@pytest.mark.parametrize("exchange", [venue.exchange for venue in VENUES])
def test_every_column_of_every_dataset_is_what_the_oracle_says(lanes: dict[str, RecordedLane], exchange: str) -> None:
    recorded = lanes[exchange].first(RECORDS_MAX)
    chosen = options()
    output = MemoryStore()
    worker = worker_on(recorded.store, output, chosen)
    for manifest in recorded.manifests:
        worker.process(manifest.lane, manifest.name)
    tally = compare(lambda dataset: placed_rows(output, dataset), lane_of(recorded.records, chosen))
    assert tally.by_a_hair <= BY_A_HAIR_MAX
    assert len(recorded.manifests) > 1
    if exchange in LONG:
        never = {name for name, known in tally.known.items() if not known}
        assert never <= NEVER_THERE, "columns in which nothing was compared but null"


@pytest.mark.parametrize("exchange", [venue.exchange for venue in VENUES])
def test_a_row_at_every_update_is_what_the_oracle_says(lanes: dict[str, RecordedLane], exchange: str) -> None:
    recorded = lanes[exchange].first(RECORDS_MAX)
    chosen = options(hf_interval_ns=0, keep_books=False)
    (whole,) = sealed(recorded.lines, lane=recorded.lane)
    result = forged(whole.body, chosen, lane=recorded.lane, last=whole.manifest.last_capture_ns)
    rows = rows_of(result, "orderbook/hf")
    drawn = Random(1).sample(rows, min(ROWS_MAX, len(rows)))
    lane = lane_of(recorded.records, chosen)
    at = {(row["symbol"], row["capture_ns"]) for row in drawn}
    tally = compare(lambda dataset: rows_of(result, dataset), lane, ["orderbook/hf"], at)
    assert tally.by_a_hair <= BY_A_HAIR_MAX
    assert tally.known["mid_price"] >= len(drawn)


@pytest.mark.parametrize("cuts", [1, 7, 50, "every 100 records"])
def test_the_cuts_of_a_recorded_lane_change_no_bit(lanes: dict[str, RecordedLane], cuts: int | str) -> None:
    recorded = lanes["binanceusdm"]
    lines = recorded.lines[:LINES_CUT]
    random = Random(str(cuts))
    at = random.sample(range(1, len(lines)), cuts) if isinstance(cuts, int) else range(100, len(lines), 100)
    rows = []
    for places in ((), at):
        store = MemoryStore()
        segments = sealed(lines, places, lane=recorded.lane)
        for segment in segments:
            stored(store, segment.body, segment.manifest)
        worker = worker_on(store)
        for segment in random.sample(segments, len(segments)):
            worker.process(segment.manifest.lane, segment.manifest.name)
        rows.append({dataset: in_key_order(placed_rows(store, dataset), dataset) for dataset in DATASETS})
    for dataset in DATASETS:
        assert rows[0][dataset] == rows[1][dataset], dataset
    assert len(rows[0]["orderbook/hf"]) > 10


def in_key_order(rows: list[dict[str, object]], dataset: str) -> list[dict[str, object]]:
    _, keys = DATASETS[dataset]
    return sorted(rows, key=lambda row: [str(row[key]) for key in keys])


@pytest.mark.parametrize("venue", [venue for venue in VENUES if venue.exchange in CONTRACTS], ids=lambda v: v.exchange)
def test_the_touch_is_the_one_the_exchange_itself_published(lanes: dict[str, RecordedLane], venue: Venue) -> None:
    published = BinanceRecording.read(venue.file).touches
    books = [record["data"] for record in lanes[venue.exchange].records if record["channel"] == "orderbook"]
    assert max(len(book["bids"]) for book in books) == DEPTH
    compared = 0
    for book in books:
        if touch := published.get(book["nonce"]):
            assert (*book["bids"][0], *book["asks"][0]) == touch
            compared += 1
    assert compared >= 500
