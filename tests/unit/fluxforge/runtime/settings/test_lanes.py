import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.lanes import check_configured, configured_lanes

TREE = {
    "ccxt": {"exchanges": {"kraken": {"channels": {"watchTrades": ["A/B"]}}}},
    "databento": {
        "api_key": "db-key",
        "datasets": {"GLBX.MDP3": {"channels": {"trades": ["ESU4"]}}, "XNAS.ITCH": {"channels": {"mbo": []}}},
    },
}


def test_a_dataset_of_databento_with_something_to_capture_has_one_lane() -> None:
    lanes = configured_lanes(Settings.model_validate(TREE))
    assert [str(lane) for lane in lanes] == ["ccxt-kraken-0of1", "databento-glbxmdp3-0of1"]


def test_where_nothing_is_configured_every_place_that_could_say_so_is_named() -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured_lanes(Settings())
    places = ("ccxt.exchanges.<exchange>", "coinbase", "databento.datasets.<dataset>", "ibkr")
    assert [place for place in places if f"{place}.channels" not in str(refused.value)] == []


def test_a_lane_that_is_not_configured_is_refused_with_those_that_are() -> None:
    check_configured(Settings.model_validate(TREE), Lane("databento", "glbxmdp3", "0of1"))
    with pytest.raises(ConfigurationError, match="configured: ccxt-kraken-0of1, databento-glbxmdp3-0of1"):
        check_configured(Settings.model_validate(TREE), Lane("databento", "xnasitch", "0of1"))
