from pathlib import Path
from random import Random

import orjson
import pytest
from typer.testing import CliRunner

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.errors import UsageError
from fluxforge.domain.lane import Lane
from fluxforge_cli.main import app
from tests.unit.fluxforge_etl_worker.legs.pair import LANE, LEG_B, lane, split, worked
from tests.unit.fluxforge_etl_worker.samples import Recording


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two legs in Parquet."""
    path = tmp_path_factory.mktemp("legs")
    store = LocalStore(path, sync=False)
    a, b = split(lane(200), Random(1), lost=0.5)
    worked(store, LANE, a)
    worked(store, LEG_B, b)
    return path


def said(data: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["merge", *arguments, "--data", str(data)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_an_hour_is_merged_once_and_the_command_says_who_was_first(data: Path) -> None:
    one = ("--date", "2023-11-14", "--hour", "22")
    first = said(data, *one)
    assert "ccxt binance 2023-11-14 22:00: merged; rows: coverage " in first
    assert "orderbook BTC-USDT: " in first
    assert "at one instant" in first
    assert said(data, *one) == "merged before: 1 hours\n"
    told = orjson.loads(said(data, "--json", "--date", "2023-11-14", "--hour", "23"))
    assert (told["exchange"], told["is_new"]) == ("binance", True)
    (feed,) = [one for one in told["feeds"] if (one["channel"], one["symbol"]) == ("orderbook", "BTC-USDT")]
    assert feed["rows"] == feed["ties"] + feed["a"]["only"] + feed["b"]["only"]


def test_hours_that_wait_say_what_for_and_are_an_exit_code(data: Path) -> None:
    text = said(data, "--date", "2023-11-15", "--hour", "0", code=1)
    assert "ccxt binance 2023-11-15 00:00: waits\n  ccxt-binance-0of1: sealed up to 2023-11-15 00:15:01, wanted" in text
    assert ": merged; rows: " in said(data, "--date", "2023-11-15", "--hour", "0", "--ended")


def test_an_exchange_that_has_no_legs_is_said_to_have_none_and_one_that_nobody_knows_is_refused(data: Path) -> None:
    worked(
        LocalStore(data, sync=False), Lane("ccxt", "kraken", "0of1"), Recording(Lane("ccxt", "kraken", "0of1")).lines
    )
    assert said(data, "--exchange", "kraken").startswith("nothing to merge")
    with pytest.raises(UsageError, match=r"exchange 'binanse': nothing was captured of it; did you mean 'binance'\?"):
        said(data, "--exchange", "binanse")
    with pytest.raises(UsageError, match="there is binance, kraken"):
        said(data, "--exchange", "x", "--json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--hour", "3"), "--hour is an hour of --date"), (("--date", "today"), "a day such as 2026-11-22")],
)
def test_a_span_that_is_none_is_refused(data: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        said(data, *arguments)
