"""The page of features is what the registry says."""

from pathlib import Path

import pytest

from fluxforge.runtime.settings import BookProcessorOptions
from fluxforge_etl_worker.features.registry import all_features
from fluxforge_etl_worker.manual import manual

PAGE = Path(__file__).resolve().parents[3] / "docs" / "features.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == manual(BookProcessorOptions()), (
        "python -m fluxforge_etl_worker.manual > docs/features.md"
    )


def test_the_page_names_every_column_with_its_type_unit_formula_and_nulls() -> None:
    page = PAGE.read_text()
    for feature in all_features(10, (1, 5, 30, 60)):
        is_level = "_size_L" in feature.name or "_price_L" in feature.name
        assert is_level or f"`{feature.name}`" in page
        assert f"| {feature.dtype} | {feature.unit} |" in page
        assert is_level or f"| {feature.formula} | {feature.nulls} |" in page


def test_there_are_as_many_columns_as_the_page_says() -> None:
    assert len(all_features(10, (1, 5, 30, 60))) >= 115
    assert f"then {len(all_features(10, (1, 5, 30, 60)))} features" in " ".join(PAGE.read_text().split())


@pytest.mark.parametrize("horizons", [(2,), (10, 45), (3600,)])
def test_other_horizons_have_columns_of_their_names(horizons: tuple[int, ...]) -> None:
    names = [feature.name for feature in all_features(10, horizons)]
    assert len(names) == len(set(names))
    for horizon in horizons:
        assert f"ofi_sum_{horizon}s" in names
        assert (f"trade_kyle_lambda_{horizon}s" in names) == (horizon >= 30)
    assert "log_return_60s" not in names
    page = manual(BookProcessorOptions(horizons=horizons))
    assert all(f"`realized_volatility_{horizon}s`" in page for horizon in horizons)
