"""Sources: how a service signs in to the bus."""

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import load


@pytest.mark.parametrize(
    ("nats", "said"),
    [
        ("{user: collector}", "user is given and password is not"),
        ("{password: hidden}", "password is given and user is not"),
        ("{user: a, password: hidden, credentials_file: c}", "expected user and password, or credentials_file"),
        ("{servers: ['nats://u:hidden@h:4222']}", "nats.user and nats.password"),
    ],
)
def test_signing_in_two_ways_or_by_halves_is_refused_and_no_password_is_shown(tmp_path, nats, said):
    config = tmp_path / "config.yaml"
    config.write_text(f"nats: {nats}\n")
    with pytest.raises(ConfigurationError) as refused:
        load(config)
    assert said in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_password_may_stand_in_a_file_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "password").write_text("hidden\n")
    monkeypatch.setenv("FLUXFORGE__NATS__USER", "collector")
    monkeypatch.setenv("FLUXFORGE__NATS__PASSWORD_FILE", str(tmp_path / "password"))
    nats = load(None).nats
    assert nats.user == "collector"
    assert nats.password is not None
    assert nats.password.get_secret_value() == "hidden"


def test_markets_are_filtered_by_quote_or_type_and_not_by_nothing(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("ccxt: {exchanges: {binance: {channels: {watchTrades: {type: swap}, watchTicker: {quote: X}}}}}")
    channels = load(config).ccxt.exchanges["binance"].channels
    assert [(one.quote, one.type) for one in channels.values()] == [(None, "swap"), ("X", None)]
    config.write_text("ccxt: {exchanges: {binance: {channels: {watchTrades: {}}}}}")
    with pytest.raises(ConfigurationError, match="expected quote, type or both"):
        load(config)
    config.write_text("ccxt: {exchanges: {binance: {channels: {watchTrades: {type: perp}}}}}")
    with pytest.raises(ConfigurationError, match=r"'spot', 'margin', 'swap', 'future' or 'option'"):
        load(config)
