from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings, load
from fluxforge.runtime.settings.lanes import configured_lanes
from fluxforge_collector.coinbase_source.settings import venue_settings
from fluxforge_collector.markets_wanted import MarketsWanted


def settings(**more: object) -> Settings:
    return Settings.model_validate({"coinbase": {"channels": {"level2": ["BTC/USD"], "ticker": ["*"]}, **more}})


def test_the_venue_is_what_the_settings_say() -> None:
    venue = venue_settings(settings(max_orderbook_depth=7, products_per_connection=3, via="127.0.0.1:1"))
    assert venue.channels == {"level2": MarketsWanted(names=("BTC/USD",)), "ticker": MarketsWanted(every=True)}
    assert (venue.depth, venue.products_per_connection, venue.via) == (7, 3, "127.0.0.1:1")
    assert (venue.api_key, venue.api_secret) == ("", "")


def test_a_secret_comes_from_a_file_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "key.pem"
    secret.write_text("-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----\n")
    monkeypatch.setenv("FLUXFORGE__COINBASE__API_KEY", "organizations/1/apiKeys/2")
    monkeypatch.setenv("FLUXFORGE__COINBASE__API_SECRET_FILE", str(secret))
    venue = venue_settings(load(None))
    assert venue.api_secret == secret.read_text().strip()
    assert "MHc" not in repr(venue)
    assert venue.api_key not in repr(venue)


def test_absent_is_off() -> None:
    with pytest.raises(ConfigurationError, match="coinbase: not configured"):
        venue_settings(load(None))


def test_its_lanes_stand_beside_those_of_the_same_exchange_through_ccxt() -> None:
    tree = settings(shards=2).model_dump()
    tree["ccxt"]["exchanges"] = {"coinbase": {"channels": {"watchTrades": ["BTC/USD"]}}}
    assert configured_lanes(Settings.model_validate(tree)) == (
        Lane("ccxt", "coinbase", "0of1"),
        Lane("coinbase", "coinbase", "0of2"),
        Lane("coinbase", "coinbase", "1of2"),
    )


def test_without_markets_there_is_no_lane() -> None:
    with pytest.raises(ConfigurationError, match="nothing to capture"):
        configured_lanes(Settings.model_validate({"coinbase": {"channels": {"level2": []}}}))
