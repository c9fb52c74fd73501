"""Poison: segments and lines that are not what they should be. Each is put aside once, and everything else flows."""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.adapters.memory.server import MemoryServer
from fluxforge.adapters.memory.store import MemoryStore
from fluxforge.domain.errors import SegmentCorruptError
from fluxforge.domain.segment import Manifest, SealedEvent
from fluxforge.runtime.lifecycle import Shutdown
from fluxforge_etl_worker.consume import EtlService
from fluxforge_etl_worker.events import EtlEvents
from fluxforge_etl_worker.source import sealed_chunks
from tests.unit.fluxforge_etl_worker.samples import (
    ASKS,
    BIDS,
    LANE,
    MS,
    T0,
    Recording,
    S,
    dataset_rows,
    forged,
    manifest_of,
    options,
    rows_of,
    stored,
    trade,
    worker_on,
)

FEW = options(hf_interval_ns=60 * S, horizons_s=(1,), bar_durations_s=(1,))
COUNT = 6


def lines_of(number: int) -> list[bytes]:
    recording = Recording(boot=f"boot{number:04d}")
    for n in range(COUNT):
        recording.ticker(T0 + number * 100 * S + n * MS, last=float(n))
    return recording.lines


def name_of(number: int) -> str:
    return f"segment_20231114T22_{number:05d}"


@dataclass(frozen=True)
class Entered:
    """What stands in the store of a segment: the bytes of its manifest and of its data, None where there are none."""

    manifest: bytes | None
    data: bytes | None
    suffix: str = ".ndjson"


def told(manifest: Manifest, **changes: object) -> bytes:
    return orjson.dumps({**orjson.loads(manifest.to_json()), **changes})


def flipped(body: bytes, bit: int) -> bytes:
    at = bytearray(body)
    at[bit // 8] ^= 1 << bit % 8
    return bytes(at)


def zipped(manifest: Manifest, data: bytes) -> Entered:
    return Entered(told(manifest, file=f"{manifest.name}.ndjson.zst"), data, ".ndjson.zst")


CONDEMNED: dict[str, Callable[[Manifest, bytes], Entered]] = {
    "truncated": lambda m, body: Entered(m.to_json(), body[:-20]),
    "truncated at a line": lambda m, body: Entered(m.to_json(), body[: body.rindex(b"\n", 0, -1) + 1]),
    "longer": lambda m, body: Entered(m.to_json(), body + b"\n"),
    "a bit flipped": lambda m, body: Entered(m.to_json(), flipped(body, 777)),
    "empty": lambda m, _: Entered(m.to_json(), b""),
    "zeros": lambda m, body: Entered(m.to_json(), bytes(len(body))),
    "no data": lambda m, _: Entered(m.to_json(), None),
    "no manifest": lambda _, body: Entered(None, body),
    "manifest of other bytes": lambda m, body: Entered(told(m, sha256=hashlib.sha256(b"other").hexdigest()), body),
    "manifest of another size": lambda m, body: Entered(told(m, size_bytes=len(body) - 1), body),
    "manifest of another segment": lambda m, body: Entered(told(m, name="segment_20231114T22_09999"), body),
    "manifest of another lane": lambda m, body: Entered(told(m, exchange="kraken"), body),
    "manifest of no lane": lambda m, body: Entered(told(m, shard="../.."), body),
    "manifest that points elsewhere": lambda m, body: Entered(told(m, file="../../../../etc/passwd"), body),
    "manifest torn": lambda m, body: Entered(m.to_json()[:-30], body),
    "manifest empty": lambda _, body: Entered(b"", body),
    "manifest not UTF-8": lambda _, body: Entered(b'{"v":1,"name":"\xff"}', body),
    "manifest of a version to come": lambda m, body: Entered(told(m, v=2), body),
    "manifest lacks a field": lambda m, body: Entered(m.to_json().replace(b'"epoch"', b'"eposch"'), body),
    "manifest is a list": lambda _, body: Entered(b"[]", body),
    "not zstd": zipped,
    "zstd cut short": lambda m, body: zipped(m, zstandard.compress(body)[:-9]),
    "zstd with a bit flipped": lambda m, body: zipped(m, flipped(zstandard.compress(body), 400)),
    "zstd of nothing": lambda m, _: zipped(m, zstandard.compress(b"")),
    "commit of a version to come": lambda m, body: Entered(m.to_json(), body),
    "commit torn": lambda m, body: Entered(m.to_json(), body),
}
COMMITS = {"commit of a version to come": b'{"v":2}', "commit torn": b'{"v":1,"lane"'}

LINE = lines_of(0)[0].rstrip(b"\n")
QUARANTINED = {
    "record of a version to come": LINE.replace(b'{"v":1', b'{"v":2'),
    "NUL": LINE.replace(b"binance", b"bin\0nce"),
    "all NUL": bytes(300),
    "NaN": LINE.replace(b'"last":0.0', b'"last":NaN'),
    "beyond a double": LINE.replace(b'"last":0.0', b'"last":1e400'),
    "bad UTF-8": LINE.replace(b"USDT", b"\xff\xfe\xfa\xfb"),
    "nested 1e5 deep": LINE.replace(b'"last":0.0', b'"last":' + b"[" * 100_000 + b"]" * 100_000),
    "never closed, 1e5 deep": LINE.replace(b'"last":0.0', b'"last":' + b'{"a":' * 100_000),
    "over 8 MiB": LINE.replace(b"}}", b'","x":"' + b"x" * 8_388_608 + b'"}}'),
    "another lane's": LINE.replace(b'"exchange":"binance"', b'"exchange":"kraken"'),
    "another type": LINE.replace(b'"last":0.0', b'"last":"0.0"'),
    "torn": LINE[: len(LINE) // 2],
    "not JSON": b"hello",
    "a symbol that leaves the folder": LINE.replace(b'"symbol":"BTC-USDT"', b'"symbol":"' + b"/.." * 300 + b'"'),
    "a channel that leaves the folder": LINE.replace(b'"channel":"ticker"', b'"channel":"../../x"'),
    "seq beyond int64": LINE.replace(b'"seq":1', b'"seq":99999999999999999999'),
    "time that is no time": LINE.replace(b'"capture_ns":1700000040000000000', b'"capture_ns":-5'),
    "blank": b"   ",
}


async def served(store: MemoryStore, server: MemoryServer, names: list[str]) -> CollectorRegistry:
    """Announce segments, twice each, and have a service settle everything."""
    bus, registry, shutdown = MemoryBus(server), CollectorRegistry(), Shutdown()
    for repeat in range(2):
        for name in names:
            event = SealedEvent(str(LANE), name, 1, 1, T0)
            await bus.events.publish(f"segments.sealed.{LANE}.{name}", event.to_json(), message_id=f"{name}{repeat}")
    shutdown.request()
    await EtlService(worker_on(store, options=FEW), bus, EtlEvents(registry), shutdown, instance="one").run()
    return registry


async def test_every_poisoned_segment_is_dead_once_and_all_others_are_processed() -> None:
    store, server = MemoryStore(), MemoryServer()
    names, good = [], []
    for number, (what, poisoned) in enumerate(CONDEMNED.items()):
        for is_good in (True, False):
            names.append(name := name_of(2 * number + is_good))
            body = b"".join(lines_of(2 * number + is_good))
            manifest = manifest_of(body, name=name)
            entered = Entered(manifest.to_json(), body) if is_good else poisoned(manifest, body)
            good += [name] if is_good else []
            prefix = f"raw/ready/ccxt/binance-0of1/{name}"
            for suffix, content in ((".manifest.json", entered.manifest), (entered.suffix, entered.data)):
                if content is not None:
                    store.create(f"{prefix}{suffix}", content)
            if not is_good and what in COMMITS:
                store.create(f"commits/{LANE}/{name}.json", COMMITS[what])
    registry = await served(store, server, names)
    dead = [name for name in names if name not in good]
    assert [key.rpartition("/")[2] for key in store.keys("dead")] == sorted(f"{name}.json" for name in dead)
    said = [subject.rpartition(".")[2] for subject, _ in server.events if subject.startswith("dead.")]
    assert sorted(said) == sorted(dead)
    assert registry.get_sample_value("fluxforge_etl_worker_segments_total", {"outcome": "dead"}) == len(dead)
    rows = dataset_rows(store, "ticker")
    assert len(rows) == COUNT * len(good)
    assert {row["boot"] for row in rows} == {f"boot{2 * n + 1:04d}" for n in range(len(good))}
    assert [name for name in good if store.size(f"commits/{LANE}/{name}.placed") is None] == []
    assert server.work == []
    assert list(store.keys(".tmp")) == []


@pytest.mark.parametrize("chunk_bytes", [1 << 20, 4_099])
def test_every_poisoned_line_is_quarantined_once_and_all_others_are_rows(chunk_bytes: int) -> None:
    lines: list[bytes] = []
    for bad, good in zip(QUARANTINED.values(), lines_of(1) * 5, strict=False):
        lines += [bad + b"\n", good]
    result = forged(b"".join(lines), FEW, chunk_bytes=chunk_bytes)
    assert result.records == len(lines)
    assert [line.line[:100] for line in result.bad] == [line[:100] for line in QUARANTINED.values()]
    assert len(rows_of(result, "ticker")) == len(QUARANTINED)


@pytest.mark.parametrize(
    ("told", "twice", "column", "value"),
    [
        (b'"last":0.0', b'"last":5.0,"last":7.0', "last", 7.0),
        (b'"last":0.0', b'"last":5.0,"last":null', "last", None),
        (b'"seq":1', b'"seq":1,"seq":2', "seq", 2),
    ],
)
def test_of_a_key_that_comes_twice_the_last_value_counts(told: bytes, twice: bytes, column: str, value: object) -> None:
    (row,) = rows_of(forged(LINE.replace(told, twice) + b"\n", FEW), "ticker")
    assert row[column] == value


def hostile(random: Random, line: bytes) -> bytes:
    """Return a line with something done to it."""
    at, to = sorted((random.randrange(len(line)), random.randrange(len(line))))
    match random.randrange(6):
        case 0:
            return flipped(line, random.randrange(8 * len(line)))
        case 1:
            return line[:at] + line[to:]
        case 2:
            return line[:to] + line[at:]
        case 3:
            return line[:at] + random.randbytes(random.choice([1, 2, 40])) + line[at:]
        case 4:
            pieces = [
                b"NaN",
                b"1e400",
                b"-0",
                b"null",
                b"{}",
                b"[[]]",
                b'""',
                b"true",
                b"18446744073709551616",
                b"\0",
                b"-1",
            ]
            return line[:at] + random.choice(pieces) + line[at + 1 :]
        case _:
            return line[:at]


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**9), chunk_bytes=st.sampled_from([61, 1 << 20]))
def test_whatever_is_done_to_lines_none_of_the_others_is_lost_and_nothing_breaks(seed: int, chunk_bytes: int) -> None:
    random, recording = Random(seed), Recording()
    for n in range(8):
        at = T0 + n * S
        recording.book(at, BIDS, ASKS)
        recording.trades(at + 1, trade(str(n), "buy", 1.0, 1.0))
        recording.ticker(at + 2, last=1.0)
        recording.add("greeks", "BTC/USDT", at + 3, {"delta": 0.5})
    touched = set(random.sample(range(len(recording.lines)), random.randint(1, 6)))
    lines = [line.rstrip(b"\n") for line in recording.lines]
    for number in touched:
        lines[number] = hostile(random, lines[number])
    body = b"\n".join(lines) + b"\n"
    result = forged(body, FEW, chunk_bytes=chunk_bytes, last=T0 + 3600 * S)
    assert result.records == body.count(b"\n")
    assert len(result.bad) + sum(feed.count for feed in result.feeds) == result.records
    channels = {"orderbook": "orderbook/books"}
    for number, record in enumerate(recording.records):
        if number not in touched:
            rows = rows_of(result, channels.get(record["channel"], record["channel"]))
            key = (record["capture_ns"], record["seq"])
            assert key in {(row["capture_ns"], row["seq"]) for row in rows}


def test_every_flipped_bit_of_a_sealed_segment_is_noticed() -> None:
    body = b"".join(lines_of(1))
    manifest = manifest_of(body)
    for bit in range(8 * len(body)):
        store = MemoryStore()
        stored(store, flipped(body, bit), manifest)
        with pytest.raises(SegmentCorruptError, match="sha256"):
            deque(sealed_chunks(store, FEW.layout, manifest), maxlen=0)


@pytest.mark.parametrize("seed", range(8))
def test_of_a_segment_with_a_flipped_bit_nothing_is_committed(seed: int) -> None:
    body, store = b"".join(lines_of(1)), MemoryStore()
    manifest = manifest_of(body)
    stored(store, flipped(body, Random(seed).randrange(8 * len(body))), manifest)
    with pytest.raises(SegmentCorruptError, match="sha256"):
        worker_on(store, options=FEW).process(LANE, manifest.name)
    assert not [key for root in ("commits", "processed", ".tmp", "quarantine") for key in store.keys(root)]


def test_every_flipped_bit_of_a_compressed_segment_is_noticed_or_changes_no_byte_of_what_was_sealed() -> None:
    body = b"".join(lines_of(1))
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(body)
    manifest = replace(manifest_of(body), file=f"{manifest_of(body).name}.ndjson.zst")
    noticed = 0
    for bit in range(8 * len(packed)):
        store = MemoryStore()
        stored(store, flipped(packed, bit), manifest)
        try:
            read = b"".join(sealed_chunks(store, FEW.layout, manifest))
        except SegmentCorruptError:
            noticed += 1
        else:
            assert read == body
    assert noticed > 0.95 * len(packed) * 8
