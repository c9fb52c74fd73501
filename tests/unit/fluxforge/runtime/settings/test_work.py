from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import BookProcessorOptions, load
from fluxforge.runtime.settings.work import EtlSettings


def options(tmp_path: Path, text: str) -> BookProcessorOptions:
    path = tmp_path / "config.yaml"
    path.write_text(f"etl: {{channels: {{orderbook: {{processor_options: {{{text}}}}}}}}}")
    return load(path).etl.channels.orderbook.processor_options


@pytest.mark.parametrize("interval_s", [0, 0.001, 0.008, 0.1, 0.25, 0.5, 1, 2.0, 5, 60, 3600])
def test_feature_rows_stand_on_a_grid_that_meets_seconds_and_days(tmp_path: Path, interval_s: float) -> None:
    assert options(tmp_path, f"hf_emit_interval: {interval_s}").hf_emit_interval == interval_s


@pytest.mark.parametrize("interval_s", [0.3, 0.0005, 0.1001, 0.999999, 1.5, 7, 0.7])
def test_a_grid_that_meets_neither_is_refused(tmp_path: Path, interval_s: float) -> None:
    with pytest.raises(ConfigurationError) as refused:
        options(tmp_path, f"hf_emit_interval: {interval_s}")
    assert str(refused.value).endswith(
        "config.yaml:1: etl.channels.orderbook.processor_options.hf_emit_interval: "
        "expected 0 (a row for every update), "
        "whole milliseconds that divide a second (such as 0.1), or whole seconds that divide a day (such as 5), "
        f"was {float(interval_s)}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf_emit_interval: -1", "processor_options.hf_emit_interval: should be greater than or equal to 0, was -1"),
        ("hf_emit_interval: 7200", "hf_emit_interval: should be less than or equal to 3600, was 7200"),
        ("hf_emit_interval: fast", "hf_emit_interval: expected a number, was 'fast'"),
        ("hf_emit_interval: .nan", "hf_emit_interval: should be a finite number, was nan"),
        (
            "bar_durations: [1, 7]",
            "bar_durations: expected whole seconds that divide a day (such as 15, 60 or 900), was 7",
        ),
        ("bar_durations: [0]", "bar_durations.0: should be greater than or equal to 1, was 0"),
        ("bar_durations: [1.5]", "bar_durations.0: expected an integer, was 1.5"),
        ("bar_durations: [86400]", "bar_durations.0: should be less than or equal to 3600, was 86400"),
        ("bar_durations: []", "bar_durations: expected at least 1 in the list, was []"),
        ("bar_durations: 60", "bar_durations: expected a list, was 60"),
        (
            "horizons: [5, 1, 5]",
            "horizons: expected each number of seconds once, was [5, 1, 5], with 5 more than once",
        ),
        ("horizons: [1, -5]", "horizons.1: should be greater than or equal to 1, was -5"),
        ("horizons: [3601]", "horizons.0: should be less than or equal to 3600, was 3601"),
        (f"horizons: {list(range(1, 18))}", "horizons: expected at most 16 in the list, was [1, 2,"),
        ("max_levels: 0", "max_levels: should be greater than or equal to 1, was 0"),
        ("max_levels: 51", "max_levels: should be less than or equal to 50, was 51"),
        ("max_levels: 5.0", "max_levels: expected an integer, was 5.0"),
    ],
)
def test_options_of_books_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        options(tmp_path, text)
    assert message in str(refused.value)


def test_windows_are_in_rising_order_however_they_are_written(tmp_path: Path) -> None:
    found = options(tmp_path, "horizons: [300, 7, 60], bar_durations: [900, 15]")
    assert (found.horizons, found.bar_durations) == ((7, 60, 300), (15, 900))


def test_the_defaults_pass_their_own_checks() -> None:
    defaults = BookProcessorOptions()
    assert BookProcessorOptions(**defaults.model_dump()) == defaults
    assert EtlSettings(asof_tolerance_seconds=60) == EtlSettings()
