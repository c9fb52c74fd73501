import pytest

pytest.importorskip("databento", reason="the package databento is not installed")

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.runtime.settings import Settings
from fluxforge_collector.databento_source.subscriptions import plan

LANE = Lane("databento", "glbxmdp3", "0of1")


def settings(channels, *, dataset="GLBX.MDP3", **more):
    group = {"api_key": "db-key", "datasets": {dataset: {"channels": channels}}, **more}
    return Settings.model_validate({"databento": group})


def test_a_feed_is_the_channel_of_a_schema_and_the_symbol_as_it_was_asked_for():
    asked = plan(settings({"trades": ["ESU4"], "mbp-10": ["ESU4", "NQU4"], "ohlcv-1s": ["ESU4"], "mbo": []}), LANE)
    assert [(feed.channel, feed.market) for feed in asked.feeds] == [
        ("trades", "ESU4"),
        ("orderbook", "ESU4"),
        ("orderbook", "NQU4"),
        ("ohlcv_1s", "ESU4"),
    ]
    assert {(feed.source, feed.exchange) for feed in asked.feeds} == {("databento", "glbxmdp3")}


def test_the_gateway_is_that_of_the_dataset_unless_another_stands_in():
    gateway = plan(settings({"trades": ["ESU4"]}), LANE).gateway
    assert (gateway.host, gateway.port) == ("glbx-mdp3.lsg.databento.com", 13000)
    assert gateway.api_key == "db-key"
    assert "db-key" not in repr(gateway)
    gateway = plan(settings({"trades": ["ESU4"]}, via="127.0.0.1:4000"), LANE).gateway
    assert (gateway.host, gateway.port, gateway.dataset) == ("127.0.0.1", 4000, "GLBX.MDP3")


@pytest.mark.parametrize(
    ("made", "lane", "message"),
    [
        (Settings(), LANE, "exchange 'glbxmdp3' is no dataset configured under databento.datasets; configured: none"),
        (settings({"trades": ["A"]}), Lane("databento", "xnasitch", "0of1"), "configured: glbxmdp3"),
        (settings({}), LANE, "databento.datasets.GLBX.MDP3.channels: nothing to capture"),
        (
            Settings.model_validate({"databento": {"datasets": {"GLBX.MDP3": {"channels": {"trades": ["A"]}}}}}),
            LANE,
            "databento.api_key: missing; best set by FLUXFORGE__DATABENTO__API_KEY_FILE",
        ),
        (
            settings({"trades": ["A"]}, dataset="GLBX.MDP4"),
            Lane("databento", "glbxmdp4", "0of1"),
            "databento.datasets.GLBX.MDP4: unknown dataset; nearest is GLBX.MDP3",
        ),
    ],
)
def test_what_cannot_be_captured_is_refused_before_anything_is_connected(made, lane, message):
    with pytest.raises(ConfigurationError, match=message):
        plan(made, lane)
