from itertools import takewhile
from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import load
from fluxforge.runtime.settings.ibkr import ContractSettings, IbkrChannel, IbkrSettings
from fluxforge.runtime.settings.lanes import configured_lanes


def read(folder: Path, text: str) -> IbkrSettings | None:
    config = folder / "config.yaml"
    config.write_text(text)
    return load(config).ibkr


def test_what_the_example_shows_in_comments_can_be_used(tmp_path: Path) -> None:
    lines = (Path(__file__).resolve().parents[5] / "config/config.example.yaml").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("# ibkr:"))
    shown = list(takewhile(lambda line: line.startswith("# "), lines[first:]))
    settings = read(tmp_path, "\n".join(line.removeprefix("# ") for line in shown))
    assert settings is not None
    assert set(settings.channels) == set(IbkrChannel)
    assert settings.model_dump(exclude={"channels"}) == IbkrSettings().model_dump(exclude={"channels"})


def test_the_example_names_every_key_of_a_contract() -> None:
    text = (Path(__file__).resolve().parents[5] / "config/config.example.yaml").read_text()
    (line,) = (line for line in text.splitlines() if "trading_class" in line)
    assert [key for key in ContractSettings.model_fields if key not in line] == []


def test_absent_is_off(tmp_path: Path) -> None:
    assert read(tmp_path, "{}") is None


def test_contracts_are_given_as_text_or_by_keys(tmp_path: Path) -> None:
    text = """
ibkr:
  client_id: 7
  channels:
    ticker: [AAPL/USD:SMART, EUR/USD:IDEALPRO, BTC/USD:PAXOS]
    orderbook: [{sec_type: FUT, symbol: ES, exchange: CME, expiry: 202409}]
"""
    settings = read(tmp_path, text)
    assert settings is not None
    assert (settings.host, settings.port, settings.client_id) == ("127.0.0.1", 4001, 7)
    assert settings.channels[IbkrChannel.TICKER] == (
        ContractSettings(symbol="AAPL", currency="USD", exchange="SMART"),
        ContractSettings(sec_type="CASH", symbol="EUR", currency="USD", exchange="IDEALPRO"),
        ContractSettings(sec_type="CRYPTO", symbol="BTC", currency="USD", exchange="PAXOS"),
    )
    (future,) = settings.channels[IbkrChannel.ORDERBOOK]
    assert (future.sec_type, future.expiry) == ("FUT", "202409")


def test_it_is_one_lane_where_something_is_to_be_captured(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("ibkr: {channels: {trades: [AAPL/USD:SMART]}}")
    assert [str(lane) for lane in configured_lanes(load(config))] == ["ibkr-ibkr-0of1"]
    config.write_text("ibkr: {channels: {trades: []}}")
    with pytest.raises(ConfigurationError, match="nothing to capture"):
        configured_lanes(load(config))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ibkr: {channels: {trades: [AAPL]}}", "expected <symbol>/<currency>:<exchange> such as AAPL/USD:SMART"),
        ("ibkr: {channels: {trades: [{exchange: CME}]}}", "expected at least one of symbol, local_symbol and con_id"),
        ("ibkr: {channels: {trade: [AAPL/USD:SMART]}}", "ibkr.channels.trade: unknown key; nearest is"),
        ("ibkr: {client_id: 0}", "ibkr.client_id: should be greater than or equal to 1, was 0"),
        ("ibkr: {port: 0}", "ibkr.port: should be greater than or equal to 1, was 0"),
        ("ibkr: {market_data_type: slow}", "'live', 'frozen', 'delayed' or 'delayed_frozen', was 'slow'"),
        ("ibkr: {hots: h}", "ibkr.hots: unknown key; nearest is ibkr.host"),
    ],
)
def test_what_cannot_be_used_is_refused_by_key_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value)
