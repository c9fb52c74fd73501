from fluxforge.runtime.settings.keys import all_paths, named_keys, nearest_key
from fluxforge.runtime.settings.tree import Settings


def test_a_group_has_its_fields_and_a_mapping_any_name() -> None:
    assert "ingestion" in (named_keys(Settings) or ())
    assert named_keys(Settings.model_fields["log_level"].annotation) is None
    paths = all_paths(Settings)
    assert ("ccxt", "exchanges", "*", "channels", "watchTrades") in paths


def test_a_close_sibling_is_nearest() -> None:
    assert nearest_key(Settings, ("etl", "worker")) == "etl.workers"


def test_the_same_name_elsewhere_goes_before_a_vague_sibling() -> None:
    assert (
        nearest_key(Settings, ("ccxt", "exchanges", "okx", "watchTrades")) == "ccxt.exchanges.okx.channels.watchTrades"
    )


def test_nothing_is_nearest_to_noise() -> None:
    assert nearest_key(Settings, ("zzzzzz",)) is None
