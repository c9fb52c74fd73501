from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import Settings, load
from fluxforge.runtime.settings.databento import Schema, exchange_id

GOOD = """
databento:
  api_key: db-key
  datasets:
    GLBX.MDP3:
      channels:
        trades: [ESU4, ESZ4]
        mbp-1: [ESU4]
        mbo: [ESZ4]
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load(path)


def test_it_is_off_unless_it_is_configured() -> None:
    assert Settings().databento is None


def test_a_dataset_has_its_channels_by_schema(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD).databento
    assert settings is not None
    dataset = settings.datasets["GLBX.MDP3"]
    assert dataset.channels == {Schema.TRADES: ("ESU4", "ESZ4"), Schema.MBP_1: ("ESU4",), Schema.MBO: ("ESZ4",)}
    assert (dataset.stype_in, dataset.max_orderbook_depth, settings.via) == ("raw_symbol", 50, None)
    assert dataset.symbols() == ("ESU4", "ESZ4")


def test_the_key_may_stand_in_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("db-secret\n")
    monkeypatch.setenv("FLUXFORGE__DATABENTO__API_KEY_FILE", str(tmp_path / "key"))
    settings = loaded(tmp_path, GOOD).databento
    assert settings is not None
    assert settings.api_key.get_secret_value() == "db-secret"
    assert "db-secret" not in repr(settings)


def test_a_service_that_does_not_sign_in_reads_the_configuration_without_the_key(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD.replace("  api_key: db-key\n", "")).databento
    assert settings is not None
    assert settings.api_key.get_secret_value() == ""


def test_an_exchange_is_the_letters_and_digits_of_a_dataset() -> None:
    assert [exchange_id(name) for name in ("GLBX.MDP3", "XNAS.ITCH")] == ["glbxmdp3", "xnasitch"]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("{api_key: ' '}", "databento.api_key: expected a key of Databento, was empty"),
        ("{api_key: k, via: localhost}", "via: expected host:port such as 127.0.0.1:13000"),
        ("{api_key: k, datasets: {D: {channels: {mbp: [A]}}}}", "D.channels.mbp: unknown key; nearest is"),
        ("{api_key: k, datasets: {D: {stype_in: parent}}}", "databento.datasets.D.stype_in: should be 'raw_symbol'"),
        ("{api_key: k, datasets: {D: {channels: {trades: [A, A]}}}}", "symbol 'A' stands twice"),
        ("{api_key: k, datasets: {D: {channels: {trades: [ALL_SYMBOLS]}}}}", "expected symbols by name"),
        ("{api_key: k, datasets: {D: {channels: {mbp-1: [A], mbo: [A]}}}}", "A stands in mbp-1 and mbo, two views"),
        ("{api_key: k, datasets: {A.B: {}, AB: {}}}", "A.B and AB would both be the exchange ab"),
        ("{api_key: k, datasets: {'.': {}}}", "datasets: expected names such as GLBX.MDP3, was '.'"),
        ("{api_key: k, datasets: {D: {channels: {trades: [A/B, A-B]}}}}", "share the symbol id 'A-B'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_key_and_remedy(tmp_path: Path, group: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, f"databento: {group}")
    assert message in str(refused.value)
