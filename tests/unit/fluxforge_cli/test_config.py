from pathlib import Path

from typer.testing import CliRunner

from fluxforge_cli.main import app

CONFIG = """
ccxt: {exchanges: {kraken: {channels: {watchTrades: ["A/B"], watchTicker: {quote: USD}}}}}
coinbase: {channels: {level2: ["BTC/USD", "ETH/USD"]}}
databento: {api_key: k, datasets: {GLBX.MDP3: {channels: {mbp-1: [ESZ6], trades: []}}}}
ibkr: {channels: {bidsasks: ["AAPL/USD:SMART"], orderbook: []}}
"""


def test_a_check_names_what_is_captured_of_every_source(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    done = CliRunner().invoke(app, ["config", "check", "--config", str(path)])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == (
        "captures: kraken watchTrades (1), kraken watchTicker (filtered), coinbase level2 (2, natively), "
        "databento GLBX.MDP3 mbp-1 (1, natively), ibkr bidsasks (1, natively)"
    )
