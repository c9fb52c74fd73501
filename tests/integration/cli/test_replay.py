"""`fluxforge replay` as a person calls it, and what the ETL does with segments that hold the wire."""

import asyncio
import resource
import signal
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientSession

from fluxforge.adapters.embedded_nats import EmbeddedNats
from tests.integration.cli.command import names_in, run, started
from tests.integration.collector.rig import running_rig
from tests.integration.collector.test_replay import captured

pytestmark = pytest.mark.timeout(300)
SEGMENT = Path("data/raw/ready/ccxt/kraken-0of1/segment_20260101T00_00001.ndjson")


@pytest.fixture
async def segment(nats_server: EmbeddedNats, tmp_path: Path) -> Path:
    """A segment of a capture with its wire, where segments stand."""
    path = tmp_path / SEGMENT
    path.parent.mkdir(parents=True)
    (tmp_path / "rig").mkdir()
    async with running_rig(nats_server, tmp_path / "rig") as rig:
        await captured(rig, "kraken", path, 600)
    return path


def records(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines(keepends=True)
    return [line for line in lines if b'"channel":"control"' not in line and b'"channel":"wire"' not in line]


async def test_unified_records_are_written_to_a_file_or_to_stdout(segment: Path, tmp_path: Path) -> None:
    wanted = records(segment)
    code, output = await run("replay", segment, "--to", "unify", "--out", "u.ndjson", cwd=tmp_path)
    assert (code, output) == (0, f"{len(wanted):,} records in u.ndjson")
    assert (tmp_path / "u.ndjson").read_bytes() == b"".join(wanted)
    code, output = await run("replay", segment, "--to", "unify", cwd=tmp_path)
    assert (code, output.encode()) == (0, b"".join(wanted).strip())
    code, output = await run("replay", segment, "--to", "unify", "--out", "u.ndjson", cwd=tmp_path)
    assert (code, output) == (2, "fluxforge: --out u.ndjson exists; choose another name, or remove it")


async def test_a_file_appears_when_it_is_whole(segment: Path, tmp_path: Path) -> None:
    body = await asyncio.to_thread(segment.read_bytes)
    (tmp_path / "torn").write_bytes(body + b"no record\n")
    torn = f"fluxforge: torn:{len(body.splitlines()) + 1}: no segment"
    for _ in range(2):
        code, output = await run("replay", "torn", "--to", "unify", "--out", "u.ndjson", cwd=tmp_path)
        assert (code, output.partition(": no envelope")[0]) == (2, torn)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # as of a full disk; the command inherits it
        code, output = await run("replay", segment, "--to", "unify", "--out", "u.ndjson", cwd=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, output) == (1, "fluxforge: store unavailable during write of 'u.ndjson': File too large")
    code, output = await run("replay", segment, "--to", "unify", "--out", "no/u.ndjson", cwd=tmp_path)
    reason = "expected a file that can be created: No such file or directory"
    assert (code, output) == (2, f"fluxforge: --out no/u.ndjson: {reason}")
    assert not [name for name in names_in(tmp_path) if "u.ndjson" in name]


async def test_the_stand_in_says_where_it_listens_and_ends_when_asked(segment: Path, tmp_path: Path) -> None:
    async with started("replay", segment, "--to", "ws", "--speed", "0", cwd=tmp_path) as command:
        port = orjson.loads(await command.until('"port"'))["port"]
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/api.kraken.com/0/public/AssetPairs") as reply:
                assert "XXBTZUSD" in await reply.text()
            async with session.get("/api.kraken.com/0/public/Other") as reply:
                assert (reply.status, await reply.text()) == (
                    404,
                    "the recording does not answer GET /api.kraken.com/0/public/Other",
                )
            async with session.ws_connect("/ws.kraken.com/v2") as socket:
                assert (await socket.receive_json())["channel"] == "status"
        command.signal(signal.SIGTERM)
        assert await command.end() == 0


async def test_a_replayed_lane_is_sealed_like_any_other(
    segment: Path, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    here = {"backend": "local", "base_dir": str(tmp_path / "up")}
    tree = {
        "nats": {"servers": [nats_server.url]},
        "storage": {"scratch_dir": str(tmp_path / "up"), "ingestion_storage": here},
        "telemetry": {"port": 0},
    }
    (tmp_path / "up.json").write_bytes(orjson.dumps(tree))
    arguments = ("replay", segment, "--to", "bus", "--speed", "0", "--config", "up.json")
    async with started("segment", "--config", "up.json", cwd=tmp_path) as segmenter:
        code, output = await run(*arguments, cwd=tmp_path)
        assert code == 0, output
        segmenter.signal(signal.SIGTERM)
        assert await segmenter.end() == 0
    (sealed,) = (tmp_path / "up/raw/ready/replay/kraken-0of1").glob("*.ndjson")
    replayed, wanted = (list(map(orjson.loads, records(path))) for path in (sealed, segment))
    assert [line["data"] for line in replayed] == [line["data"] for line in wanted]
    assert {line["source"] for line in replayed} == {"replay"}
    assert "replay-kraken-0of1: " in output


@pytest.mark.parametrize(("dropped", "left"), [("false", {SEGMENT.name}), ("true", set())])
async def test_wire_records_keep_their_segment_unless_they_may_go(
    segment: Path, tmp_path: Path, dropped: str, left: set[str]
) -> None:
    arguments = ("etl", "run", "--mode", "all", "--delete", "--data", tmp_path / "data")
    code, output = await run(*arguments, cwd=tmp_path, FLUXFORGE__ETL__DROP_DISABLED=dropped)
    assert code == 0, output
    assert {name for name in names_in(segment.parent) if name.endswith(".ndjson")} == left
    names = await asyncio.to_thread(names_in, tmp_path / "data")
    assert not {"dead", "quarantine"} & set(names)
    assert {path.name for path in (tmp_path / "data/processed/ccxt").iterdir()} == {
        "coverage",
        "orderbook",
        "ticker",
        "trades",
    }
    code, output = await run("audit", "--data", tmp_path / "data", cwd=tmp_path)
    assert code == 0, output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone"], "gone: No such file or directory"),
        (["text"], "text:1: no segment: no envelope before data; expected a record per line"),
        (["bare"], "segments: no wire records; they are captured with ingestion.capture_wire: true, and --to bus"),
        (["bare", "okx"], "okx:1: of ccxt's okx, the others are of ccxt's kraken; replay each exchange by itself"),
        (["bare", "--speed", "2"], "--speed says nothing to --to unify; it takes --out"),
    ],
)
async def test_what_cannot_be_replayed_ends_with_2_and_one_line(
    tmp_path: Path, arguments: list[str], reason: str
) -> None:
    line = (
        '{"v":1,"source":"ccxt","exchange":"%s","channel":"trades","symbol":"BTC-USD","market":"BTC/USD","boot":"b",'
        '"conn":1,"seq":1,"capture_ns":%d,"exchange_ms":null,"data":[]}\n'
    )
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "bare").write_text(line % ("kraken", 10**18))
    (tmp_path / "okx").write_text(line % ("okx", 10**18 + 1))
    code, output = await run("replay", *arguments, "--to", "unify", cwd=tmp_path)
    assert code == 2
    assert output.startswith(f"fluxforge: {reason}")
    assert "\n" not in output.strip()
