"""Schemas: the columns of every dataset, in order, with their types; a table of another schema is not written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import pyarrow as pa

from fluxforge.domain.errors import SchemaMismatchError
from fluxforge.domain.partition import Dataset
from fluxforge_etl_worker.features.registry import Feature

SCHEMA_VERSION: Final = 3

TS: Final = pa.timestamp("us", tz="UTC")
# Plain strings here make pandas.read_parquet of a dataset's root fail beside the partition columns of the same name.
NAME: Final = pa.dictionary(pa.int32(), pa.string())
_LEVELS: Final = pa.list_(pa.float64())

_INSTRUMENT: Final = [pa.field("exchange", NAME), pa.field("symbol", NAME), pa.field("market", pa.string())]
KEYS: Final = [
    *_INSTRUMENT,
    pa.field("ts", TS),
    pa.field("capture_ns", pa.int64()),
    pa.field("exchange_ms", pa.int64()),
    pa.field("boot", pa.string()),
    pa.field("seq", pa.int64()),
]

TICKER_FIELDS: Final = {
    "last": "last",
    "bid": "bid",
    "bid_size": "bidVolume",
    "ask": "ask",
    "ask_size": "askVolume",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "previous_close": "previousClose",
    "change": "change",
    "percentage": "percentage",
    "average": "average",
    "vwap": "vwap",
    "base_volume": "baseVolume",
    "quote_volume": "quoteVolume",
    "mark_price": "markPrice",
    "index_price": "indexPrice",
}
"""Column -> field of ccxt's unified ticker."""

TICKER: Final = pa.schema([*KEYS, *(pa.field(name, pa.float64()) for name in TICKER_FIELDS)])

TRADES: Final = pa.schema(
    [
        *KEYS,
        pa.field("idx", pa.int32()),
        pa.field("trade_id", pa.string()),
        pa.field("side", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("amount", pa.float64()),
        pa.field("cost", pa.float64()),
        pa.field("taker_or_maker", pa.string()),
        pa.field("resent", pa.bool_()),
        pa.field("source_kind", pa.string()),
    ]
)

BOOKS: Final = pa.schema([*KEYS, *(pa.field(name, _LEVELS) for name in ("bid_px", "bid_sz", "ask_px", "ask_sz"))])

COVERAGE: Final = pa.schema(
    [
        *_INSTRUMENT,
        pa.field("ts", TS),
        pa.field("channel", pa.string()),
        pa.field("hole", pa.string()),
        pa.field("event", pa.string()),
        pa.field("from_ns", pa.int64()),
        pa.field("to_ns", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("detector", pa.string()),
        pa.field("count", pa.int64()),
        pa.field("boot", pa.string()),
        pa.field("seq", pa.int64()),
        pa.field("first_seq", pa.int64()),
        pa.field("last_seq", pa.int64()),
    ]
)

BARS: Final = pa.schema(
    [
        *_INSTRUMENT,
        pa.field("ts", TS),
        pa.field("duration", pa.int32()),
        *(
            pa.field(name, pa.float64())
            for name in (
                "open",
                "high",
                "low",
                "close",
                "mean_spread",
                "mean_relative_spread",
                "mean_l1_imbalance",
                "min_spread",
                "max_spread",
                "twap_mid",
                "sum_ofi",
                "realized_variance",
            )
        ),
        pa.field("n_updates", pa.int64()),
        pa.field("buy_volume", pa.float64()),
        pa.field("sell_volume", pa.float64()),
        pa.field("trade_count", pa.int64()),
        pa.field("vwap", pa.float64()),
        pa.field("complete", pa.bool_()),
    ]
)

GENERIC_KEYS: Final = [*KEYS, pa.field("idx", pa.int32())]


class Form(Enum):
    """What a field of one of ccxt's structures holds."""

    NUMBER = "float64"
    MILLISECONDS = "int64"
    TEXT = "string"


@dataclass(frozen=True, slots=True)
class Typed:
    """A column and the field of ccxt's structure that it holds."""

    column: str
    source: str
    form: Form = Form.NUMBER


CANDLE: Final = "ohlcv"
"""The channel whose items are lists, not objects: fields by position."""

_TICKER: Final = tuple(Typed(column, source) for column, source in TICKER_FIELDS.items())

_PRICES: Final = tuple(Typed(name, name) for name in ("open", "high", "low", "close", "volume"))

STRUCTURES: Final[Mapping[str, tuple[Typed, ...]]] = {
    CANDLE: (Typed("start_ms", "timestamp", Form.MILLISECONDS), *_PRICES),
    **dict.fromkeys(
        (f"{CANDLE}_{timeframe}" for timeframe in ("1s", "5s", "5m", "15m", "1h", "4h", "1d")),
        (Typed("start_ms", "start_ms", Form.MILLISECONDS), *_PRICES),
    ),
    "bidsasks": _TICKER,
    "mark_price": _TICKER,
    "liquidations": (
        Typed("exchange_ms", "timestamp", Form.MILLISECONDS),
        Typed("side", "side", Form.TEXT),
        Typed("price", "price"),
        Typed("contracts", "contracts"),
        Typed("contract_size", "contractSize"),
        Typed("base_value", "baseValue"),
        Typed("quote_value", "quoteValue"),
    ),
    "funding_rate": (
        Typed("funding_rate", "fundingRate"),
        Typed("funding_ms", "fundingTimestamp", Form.MILLISECONDS),
        Typed("next_funding_rate", "nextFundingRate"),
        Typed("next_funding_ms", "nextFundingTimestamp", Form.MILLISECONDS),
        Typed("previous_funding_rate", "previousFundingRate"),
        Typed("previous_funding_ms", "previousFundingTimestamp", Form.MILLISECONDS),
        Typed("interval", "interval", Form.TEXT),
        Typed("mark_price", "markPrice"),
        Typed("index_price", "indexPrice"),
        Typed("interest_rate", "interestRate"),
        Typed("estimated_settle_price", "estimatedSettlePrice"),
    ),
    "definition": (
        *(
            Typed(column, source, Form.TEXT)
            for column, source in {
                "instrument_id": "instrument_id",
                "raw_instrument_id": "raw_instrument_id",
                "underlying_id": "underlying_id",
                "raw_symbol": "raw_symbol",
                "instrument_class": "instrument_class",
                "security_update_action": "security_update_action",
                "security_type": "security_type",
                "cfi": "cfi",
                "asset": "asset",
                "product_group": "group",
                "venue": "exchange",
                "underlying": "underlying",
                "currency": "currency",
                "settl_currency": "settl_currency",
                "strike_price_currency": "strike_price_currency",
                "unit_of_measure": "unit_of_measure",
            }.items()
        ),
        *(
            Typed(name, name)
            for name in (
                "min_price_increment",
                "display_factor",
                "high_limit_price",
                "low_limit_price",
                "max_price_variation",
                "unit_of_measure_qty",
                "min_price_increment_amount",
                "price_ratio",
                "strike_price",
                "market_depth",
                "contract_multiplier",
                "original_contract_size",
                "min_lot_size_round_lot",
                "maturity_year",
                "maturity_month",
                "maturity_day",
            )
        ),
        *(Typed(name, name, Form.MILLISECONDS) for name in ("activation_ms", "expiration_ms")),
    ),
}
"""Channel -> columns after the keys, where ccxt, or for definitions Databento, fixes the structure.

`exchange_ms` among them: a row has its own.
"""

MORE: Final = pa.field("more", pa.string())
"""Last column of a channel without a schema: what its other columns cannot hold, as a JSON object."""

_FORM_TYPES: Final = {Form.NUMBER: pa.float64(), Form.MILLISECONDS: pa.int64(), Form.TEXT: pa.string()}
_KEY_NAMES: Final = frozenset(field.name for field in GENERIC_KEYS)


def structure_schema(channel: str) -> pa.Schema:
    """Return the schema of a channel in STRUCTURES."""
    columns = [(field.column, _FORM_TYPES[field.form]) for field in STRUCTURES[channel]]
    return pa.schema([*GENERIC_KEYS, *(pa.field(name, dtype) for name, dtype in columns if name not in _KEY_NAMES)])


_FEATURE_TYPES: Final = {"float64": pa.float64(), "int32": pa.int32(), "int64": pa.int64(), "string": pa.string()}

_FIXED: Final[dict[str, pa.Schema]] = {
    Dataset.TICKER: TICKER,
    Dataset.TRADES: TRADES,
    Dataset.BOOKS: BOOKS,
    Dataset.COVERAGE: COVERAGE,
    Dataset.BARS: BARS,
    **{channel: structure_schema(channel) for channel in STRUCTURES},
}


def hf_schema(features: Sequence[Feature]) -> pa.Schema:
    """Return the schema of feature rows with these features."""
    columns = [pa.field(feature.name, _FEATURE_TYPES[feature.dtype]) for feature in features]
    return pa.schema([*KEYS, pa.field("book_state", pa.string()), *columns])


def has_fixed_schema(dataset: str) -> bool:
    """Return whether a dataset has one schema; any other is a channel whose columns its first part sets."""
    return dataset in _FIXED or dataset == Dataset.HF


def check_schema(dataset: str, table: pa.Table, features: Sequence[Feature]) -> None:
    """Refuse a table that would break its dataset's schema.

    Raises:
        SchemaMismatchError: Names the first column that differs.
    """
    expected = hf_schema(features) if dataset == Dataset.HF else _FIXED.get(dataset) or _open_schema(table.schema)
    if table.schema.equals(expected):
        return
    pairs = zip(expected, table.schema, strict=False)
    wanted, found = next(((a, b) for a, b in pairs if not a.equals(b)), (None, None))
    if wanted is None:
        raise SchemaMismatchError(str(dataset), f"{len(expected)} columns", f"{table.num_columns}")
    raise SchemaMismatchError(str(dataset), f"column {_said(wanted)}", _said(found))


def _said(field: pa.Field) -> str:
    return f"{field.name} {field.type}"


def _open_schema(schema: pa.Schema) -> pa.Schema:
    """Return what a channel without a schema holds: keys, float64 or string fields as it has them, and MORE."""
    fields = list(schema)[len(GENERIC_KEYS) : -1]
    own = [pa.field(field.name, field.type if field.type == pa.float64() else pa.string()) for field in fields]
    return pa.schema([*GENERIC_KEYS, *own, MORE])
