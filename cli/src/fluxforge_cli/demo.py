"""`fluxforge demo`: the whole system against exchanges of its own, with every number accounted for.

It works in one directory of its own, which bears a mark: a former demo's data there is removed, anything else refused.
"""

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxforge.domain.errors import FatalError, UsageError
from fluxforge_cli.options import choose
from fluxforge_cli.up import give_account

if TYPE_CHECKING:
    from rich.console import Console

    from fluxforge.runtime.lifecycle import Shutdown
    from fluxforge_cli.options import Chosen
    from fluxforge_cli.screen.show import Screen
    from fluxforge_cli.system.run import Run

DATA_DEFAULT: Final = Path("data/demo")
_MARK: Final = ".fluxforge-demo"
_STOP_S: Final = 30.0  # what a closed exchange has sent is read to its end, also on a busy machine

_CONFIG: Final = """\
# What `fluxforge demo` ran with. Two exchanges, both played by the simulator on 127.0.0.1:{port}.
storage:
  scratch_dir: "{data}"
  ingestion_storage: {segments}
  etl_storage_input: {segments}
  etl_storage_output: {datasets}
ccxt:
  exchanges:
    binance:
      via: "127.0.0.1:{port}"
      channels: &channels
        watchOrderBook: ["BTC/USDT", "ETH/USDT"]
        watchTrades: ["BTC/USDT", "ETH/USDT"]
        watchTicker: ["BTC/USDT", "ETH/USDT"]
    kraken:
      via: "127.0.0.1:{port}"
      channels:
        watchOrderBook: ["BTC/USD", "ETH/USD"]
        watchTrades: ["BTC/USD", "ETH/USD"]
        watchTicker: ["BTC/USD", "ETH/USD"]
ingestion: {{segment_max_age_seconds: 10}}
etl: {{delete_after_processing: false}}
compaction: {{enabled: false}}
telemetry: {{port: 0}}
"""


class Storage(StrEnum):
    """Where a demo keeps its data."""

    LOCAL = "local"
    S3 = "s3"
    HYBRID = "hybrid"


SecondsOption = Annotated[float, typer.Option("--seconds", min=5, help="How long to capture.")]
DirectoryOption = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", help="A directory of the demo's own; what a former demo left is removed."),
]
StorageOption = Annotated[
    Storage,
    typer.Option("--storage", help="s3: on a SeaweedFS of the demo's own; hybrid: segments on disk, Parquet on S3."),
]


def demo(
    seconds: SecondsOption = 60.0, data: DirectoryOption = DATA_DEFAULT, storage: StorageOption = Storage.LOCAL
) -> None:
    """Watch the whole system work, against two simulated exchanges; it ends by itself.

    Exit code 0 only if every trade, book and ticker that the exchanges sent stands in Parquet exactly once.
    """
    from fluxforge_cli.account.report import print_steps  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.show import screen_for  # noqa: PLC0415 - heavy
    from fluxforge_cli.screen.terminal import terminal  # noqa: PLC0415 - heavy
    from fluxforge_cli.system.drive import drive  # noqa: PLC0415 - heavy

    console = terminal()
    directory = data.absolute()
    asyncio.run(_end_former(directory))
    prepare(directory)
    console.print(f"demo: binance and kraken, simulated, for {seconds:.0f} s; data in {data}", highlight=False)
    with _stores(storage, directory) as stores:
        with screen_for(console) as screen:
            chosen, run = drive(lambda shutdown: _run(directory, stores, screen, shutdown, seconds))
        closes = give_account(console, chosen, run)
        closes = _compare_with_exchange(console, chosen, directory) and closes
        closes = _close_books(console, chosen, directory) and closes
        _show_rows(chosen)
    print_steps(console, run.steps)
    if storage is Storage.LOCAL:
        _show_examples(console, data)
    raise typer.Exit(0 if closes else 1)


@contextmanager
def _stores(storage: Storage, directory: Path) -> Iterator[dict[str, str]]:
    """Yield the groups of the configuration that say where segments and datasets are, while what serves them runs."""
    import orjson  # noqa: PLC0415 - heavy

    local = orjson.dumps({"base_dir": str(directory)}).decode()
    if storage is Storage.LOCAL:
        yield {"segments": local, "datasets": local}
        return
    from fluxforge.adapters.embedded_s3 import running_s3  # noqa: PLC0415 - heavy

    with running_s3(directory / "s3") as server:
        there = server.options()
        location = {
            "bucket": there.bucket,
            "endpoint_url": there.endpoint_url,
            "access_key_id": there.access_key_id,
            "secret_access_key": there.secret_access_key,
        }
        s3 = orjson.dumps({"backend": "s3", "s3": location}).decode()
        yield {"segments": s3 if storage is Storage.S3 else local, "datasets": s3}


async def _end_former(directory: Path) -> None:
    """Stop the bus that a killed demo left behind; one that is in use raises UsageError."""
    from fluxforge.adapters.embedded_nats import EmbeddedNats, running_url  # noqa: PLC0415 - heavy
    from fluxforge.adapters.jetstream.options import MAX_PAYLOAD  # noqa: PLC0415 - heavy

    if running_url(directory / "nats"):
        former = EmbeddedNats(directory / "nats", MAX_PAYLOAD)
        await former.start()
        await former.stop()


def prepare(directory: Path) -> None:
    """Make an empty directory with the demo's mark.

    Raises:
        UsageError: It holds something that no demo made, or cannot be written.
    """
    try:
        if directory.exists() and any(directory.iterdir()):
            if not (directory / _MARK).exists():
                raise UsageError(f"{directory} holds data that no demo made: choose another directory with --data")
            shutil.rmtree(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _MARK).write_text("Made by `fluxforge demo`, which empties this directory when it runs again.\n")
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}; choose another with --data") from error


async def _run(
    directory: Path, stores: dict[str, str], screen: "Screen", shutdown: "Shutdown", seconds: float
) -> "tuple[Chosen, Run]":
    from fluxforge_cli.system.run import System  # noqa: PLC0415 - heavy

    async with _exchange(directory) as (process, port):
        config = directory / "config.yaml"
        config.write_text(_CONFIG.format(port=port, data=directory, **stores))
        chosen = choose(config)

        system = System(chosen, screen)

        async def close_exchange() -> None:
            # First the exchange: every frame that it has sent then reaches the collectors before they drain.
            await _stop(process)
            await system.until_disconnected(deadline_s=_STOP_S)

        return chosen, await system.run(shutdown, seconds=seconds, before_drain=close_exchange)


@asynccontextmanager
async def _exchange(directory: Path) -> AsyncIterator[tuple[Process, int]]:
    import orjson  # noqa: PLC0415 - heavy

    with (directory / "simulator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(
                "-P",
                "-m",
                "fluxforge_simulator",
                "--ledger",
                str(directory / "ledger.ndjson"),
                "--port",
                "0",
                "--parent-pipe",
            ),
            stdin=PIPE,  # it closes when we are killed, and the simulator ends
            stdout=PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        first = await process.stdout.readline()
        if not first:
            raise FatalError(f"the simulator did not start: {(directory / 'simulator.log').read_text().strip()}")
        yield process, int(orjson.loads(first)["port"])
    finally:
        await _stop(process)


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _compare_with_exchange(console: "Console", chosen: "Chosen", directory: Path) -> bool:
    from fluxforge_cli.account.ledger import deliveries, read_sent, stored  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.report import print_deliveries  # noqa: PLC0415 - heavy
    from fluxforge_cli.datasets import open_datasets  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import processed_files  # noqa: PLC0415 - heavy

    database = open_datasets(processed_files(chosen.settings))
    return print_deliveries(console, deliveries(read_sent(directory / "ledger.ndjson"), stored(database)))


def _close_books(console: "Console", chosen: "Chosen", directory: Path) -> bool:
    from fluxforge_cli.account.audit.close import close  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.ledger import against_ledger  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.report import print_audit  # noqa: PLC0415 - heavy
    from fluxforge_cli.account.audit.take import take  # noqa: PLC0415 - heavy

    found = close(take(chosen.settings, deep=True))
    found = against_ledger(found, directory / "ledger.ndjson", chosen.settings, ())
    print_audit(console, found)
    return found.balanced


_ROWS: Final = {
    "trades, the last five": """
        SELECT ts, exchange, symbol, side, price, amount, trade_id FROM trades ORDER BY ts DESC LIMIT 5""",
    "feature rows (hf), the last five": """
        SELECT ts, symbol, mid_price, spread, imbalance_L5, ofi_sum_5s, trade_flow_imbalance_5s, realized_volatility_5s
        FROM hf
        ORDER BY ts DESC, exchange, symbol LIMIT 5""",
    "bars of 5 s, the last five": """
        SELECT ts, exchange, symbol, open, high, low, close, n_updates, trade_count FROM bars
        WHERE duration = 5 ORDER BY ts DESC, exchange, symbol LIMIT 5""",
}

_EXAMPLES: Final = (
    "SELECT exchange, symbol, count(*) AS trades, sum(cost) AS turnover FROM trades GROUP BY ALL ORDER BY ALL",
    "SELECT ts, symbol, mid_price, ofi_sum_5s, log_return_5s FROM hf WHERE symbol = 'BTC-USDT' ORDER BY ts LIMIT 10",
    "SELECT ts, symbol, open, high, low, close, n_updates FROM bars WHERE duration = 5 ORDER BY symbol, ts LIMIT 10",
)


def _show_rows(chosen: "Chosen") -> None:
    from fluxforge_cli.datasets import open_datasets  # noqa: PLC0415 - heavy
    from fluxforge_cli.query import print_table, run_sql  # noqa: PLC0415 - heavy
    from fluxforge_cli.stores import processed_files  # noqa: PLC0415 - heavy

    database = open_datasets(processed_files(chosen.settings))
    for title, sql in _ROWS.items():
        print_table(*run_sql(database, sql), title=title)


def _show_examples(console: "Console", data: Path) -> None:
    console.print("\n[bold]Ask it yourself[/bold]")
    command = sys.argv[0] if "/" in sys.argv[0] and not sys.argv[0].startswith("/") else "fluxforge"
    for sql in _EXAMPLES:
        console.print(f'{command} query --data {data} "{sql}"', markup=False, highlight=False, soft_wrap=True)
