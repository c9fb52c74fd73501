"""Partitions: datasets, Hive directories and part names; the only builder of them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.instrument import encode_component
from fluxforge.domain.lane import Lane

PARTITION_COLS_DEFAULT: Final = ("exchange", "symbol", "date")
_PARTITION_COLS: Final = frozenset({"source", "exchange", "symbol", "date", "hour"})


class Dataset(StrEnum):
    """The datasets with a schema of their own; any other channel is a dataset of its own name."""

    TICKER = "ticker"
    TRADES = "trades"
    BOOKS = "orderbook/books"
    HF = "orderbook/hf"
    BARS = "orderbook/bars"
    COVERAGE = "coverage"


_KEY_DEFAULT: Final = ("exchange", "market", "boot", "seq", "idx")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    Dataset.TICKER: ("exchange", "market", "boot", "seq", "ts"),
    Dataset.BOOKS: ("exchange", "market", "boot", "seq", "ts"),
    Dataset.HF: ("exchange", "market", "boot", "seq", "ts"),
    Dataset.BARS: ("exchange", "market", "duration", "ts"),
    Dataset.COVERAGE: ("exchange", "channel", "market", "boot", "seq", "event"),
}


def key_columns(dataset: str) -> tuple[str, ...]:
    """Return the columns that tell the rows of a dataset apart."""
    return _KEYS.get(dataset, _KEY_DEFAULT)


def check_partition_cols(cols: Sequence[str]) -> tuple[str, ...]:
    """Return the partition columns.

    Raises:
        ConfigurationError: An unknown or repeated column.
    """
    for col in cols:
        if col not in _PARTITION_COLS:
            raise ConfigurationError(f"partition column {col!r}: expected one of {', '.join(sorted(_PARTITION_COLS))}")
    if len(set(cols)) != len(cols):
        raise ConfigurationError(f"partition columns {list(cols)!r}: each may stand once")
    return tuple(cols)


def partition_path(cols: Sequence[str], values: Mapping[str, str]) -> str:
    """Return `exchange=binance/symbol=BTC-USDT/date=2026-11-22`: values percent-encoded, as Hive readers expect."""
    return "/".join(f"{col}={encode_component(values[col])}" for col in cols)


def part_name(lane: Lane, segment: str) -> str:
    """Return the file name of a segment's part in any partition."""
    return f"part_{lane}_{segment}.parquet"


def dataset_root(processed_dir: str, source: str, dataset: str) -> str:
    """Return the key prefix of a dataset, without a trailing slash; path components of a dataset name are encoded."""
    return "/".join([processed_dir, source, *(encode_component(part) for part in dataset.split("/"))])
