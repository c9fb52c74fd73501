import asyncio
from pathlib import Path

import pytest

from tests.integration.cli.command import names_in, run

pytestmark = pytest.mark.timeout(300)

KRAKEN = 'ccxt: {exchanges: {kraken: {via: "127.0.0.1:1", channels: {watchTrades: ["BTC/USD"]}}}}\n'


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ccxt:\n  exchanges: [\n", "config.yaml:3: not YAML: "),
        ("etl:\n  worker: 2\n", "config.yaml:2: etl.worker: unknown key; nearest is etl.workers"),
        ("ingestion: {batch_size: many}\n", "ingestion.batch_size: expected an integer, was 'many'"),
        ("log_level: INFO\n", "nothing to capture: name markets under ccxt.exchanges.<exchange>.channels"),
    ],
)
@pytest.mark.parametrize("verb", ["up", "collect"])
async def test_a_configuration_that_cannot_be_used_ends_with_2_and_one_message(
    tmp_path: Path, verb: str, text: str, message: str
) -> None:
    code, output = await run(verb, "--config", config(tmp_path, text), cwd=tmp_path)
    assert code == 2
    assert output.startswith("fluxforge: ")
    assert message in output
    assert "Traceback" not in output
    assert names_in(tmp_path) == ["config.yaml"]


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, output = await run("config", "check", "--config", "absent.yaml", cwd=tmp_path)
    assert (code, output.startswith("fluxforge: configuration file 'absent.yaml' does not exist")) == (2, True)


async def test_a_misspelt_variable_is_named_with_the_nearest(tmp_path: Path) -> None:
    code, output = await run("config", "check", cwd=tmp_path, FLUXFORGE__ETL__WORKER="2")
    assert code == 2
    assert "environment variable FLUXFORGE__ETL__WORKER: names no key" in output
    assert "FLUXFORGE__ETL__WORKERS" in output


async def test_nothing_configured_is_said_with_what_to_do(tmp_path: Path) -> None:
    code, output = await run("up", cwd=tmp_path)
    assert code == 2
    assert "`fluxforge demo` needs no configuration" in output


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, output = await run("up", "--config", config(tmp_path, KRAKEN), "--data", "file/data", cwd=tmp_path)
    assert code == 2
    assert "file/data" in output
    assert "Traceback" not in output


async def test_a_bus_that_is_not_there_is_named_and_is_critical_to_a_check(tmp_path: Path) -> None:
    path = config(tmp_path, KRAKEN)
    code, output = await run("health", "--config", path, cwd=tmp_path)
    assert (code, "no embedded server runs on data/nats: is `fluxforge up` on?" in output) == (2, True)
    code, output = await run(
        "provision", "--config", path, cwd=tmp_path, FLUXFORGE__NATS__SERVERS='["nats://127.0.0.1:1"]'
    )
    assert (code, "nats://127.0.0.1:1" in output) == (1, True)


async def test_a_simulator_on_a_port_that_is_taken_ends_with_2(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        code, output = await run("simulate", "--port", port, cwd=tmp_path)
    finally:
        server.close()
        await server.wait_closed()
    assert (code, str(port) in output) == (2, True)
    assert "Traceback" not in output


async def test_etl_run_takes_a_date_with_mode_date_alone(tmp_path: Path) -> None:
    for arguments in (["--mode", "date"], ["--mode", "all", "--date", "2026-11-22"], ["--mode", "date", "--date", "x"]):
        code, output = await run("etl", "run", *arguments, cwd=tmp_path)
        assert code == 2, output
        assert "date" in output
