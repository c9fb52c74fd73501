"""Settings of Databento's live data: the key, and what is subscribed per dataset. Frozen; nothing is read here."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import check_distinct_symbols
from fluxforge.runtime.settings.sources import Group, check_via
from fluxforge.runtime.settings.units import Count


class Schema(StrEnum):
    """Databento's schemas that can be captured; the keys of `channels`."""

    TRADES = "trades"
    MBP_1 = "mbp-1"
    MBP_10 = "mbp-10"
    MBO = "mbo"
    OHLCV_1S = "ohlcv-1s"
    OHLCV_1M = "ohlcv-1m"
    OHLCV_1H = "ohlcv-1h"
    OHLCV_1D = "ohlcv-1d"
    DEFINITION = "definition"


BOOK_SCHEMAS: Final = (Schema.MBP_1, Schema.MBP_10, Schema.MBO)
"""Views of the order book: of one symbol one of them can be captured."""


def exchange_id(dataset: str) -> str:
    """Return the exchange that a dataset is in lanes and paths: `GLBX.MDP3` is `glbxmdp3`."""
    return re.sub(r"[^a-z0-9]", "", dataset.lower())


def _check_symbols(symbols: tuple[str, ...]) -> tuple[str, ...]:
    for symbol in symbols:
        if symbol == "ALL_SYMBOLS" or "," in symbol or not symbol.strip():
            raise ValueError(f"expected symbols by name, was {symbol!r}")
        if symbols.count(symbol) > 1:
            raise ValueError(f"symbol {symbol!r} stands twice")
    return symbols


Symbols = Annotated[tuple[str, ...], AfterValidator(_check_symbols)]


class DatasetSettings(Group):
    """One dataset. `max_orderbook_depth`: levels per side of books rebuilt from orders (`mbo`)."""

    stype_in: Literal["raw_symbol", "continuous", "instrument_id"] = "raw_symbol"
    max_orderbook_depth: Count = 50
    channels: Mapping[Schema, Symbols] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_one_book_each(self) -> Self:
        seen: dict[str, Schema] = {}
        for schema in BOOK_SCHEMAS:
            for symbol in self.channels.get(schema, ()):
                first = seen.setdefault(symbol, schema)
                if first is not schema:
                    raise ValueError(
                        f"channels: {symbol} stands in {first} and {schema}, two views of one book; name it in one"
                    )
        return self

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol of any channel, each once."""
        return tuple(dict.fromkeys(symbol for symbols in self.channels.values() for symbol in symbols))


class DatabentoSettings(Group):
    """Databento's live data. `via` is host:port of what stands in for the gateways of all datasets.

    `api_key` is the collectors' to have: services that do not sign in need not be told it, and it is then empty.
    """

    api_key: SecretStr = SecretStr("")
    via: str | None = None
    datasets: Mapping[str, DatasetSettings] = Field(default_factory=dict)

    @field_validator("api_key")
    @classmethod
    def _is_a_key(cls, api_key: SecretStr) -> SecretStr:
        if not api_key.get_secret_value().strip():
            raise ValueError("expected a key of Databento, was empty")
        return api_key

    @model_validator(mode="after")
    def _via_is_an_address(self) -> Self:
        check_via(self.via, example="127.0.0.1:13000")
        return self

    @model_validator(mode="after")
    def _names_can_stand(self) -> Self:
        exchanges: dict[str, str] = {}
        for dataset, settings in self.datasets.items():
            exchange = exchange_id(dataset)
            if not exchange:
                raise ValueError(f"datasets: expected names such as GLBX.MDP3, was {dataset!r}")
            first = exchanges.setdefault(exchange, dataset)
            if first != dataset:
                raise ValueError(f"datasets: {first} and {dataset} would both be the exchange {exchange}")
            try:
                check_distinct_symbols(exchange, settings.symbols())
            except (ConfigurationError, NameRefusedError) as error:
                raise ValueError(str(error)) from error
        return self
