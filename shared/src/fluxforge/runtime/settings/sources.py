"""Settings of where data comes from and where it is kept: storage, bus, exchanges. Frozen; nothing is read here."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    SecretStr,
    Tag,
    model_validator,
)

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import check_distinct_symbols, check_venue
from fluxforge.runtime.settings.units import Count, DurationSeconds, SizeBytes

ALL_MARKETS: Final = "*"
_PORT_MAX: Final = 65_535


class Group(BaseModel):
    """A group of settings: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Backend(StrEnum):
    """Where a store keeps its objects."""

    LOCAL = "local"
    S3 = "s3"


class S3Location(Group):
    """A bucket, or a prefix in one. Without keys the usual chain of credentials of the machine is asked."""

    bucket: str
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    prefix: str = ""
    addressing: Literal["auto", "path", "virtual"] = "auto"


class StoreLocation(Group):
    """One store. `base_dir` counts with the local backend, `s3` with the other."""

    backend: Backend = Backend.LOCAL
    base_dir: Path = Path("./data")
    s3: S3Location | None = None

    @model_validator(mode="after")
    def _has_its_location(self) -> Self:
        if self.backend is Backend.S3 and self.s3 is None:
            raise ValueError("backend s3: expected a group `s3` with at least a bucket")
        return self


class StoragePaths(Group):
    """Names of the directories below a store."""

    raw_dir: str = "raw"
    active_subdir: str = "active"
    ready_subdir: str = "ready"
    processed_dir: str = "processed"

    @model_validator(mode="after")
    def _stay_below(self) -> Self:
        for key, name in self:
            if not name or name.startswith(("/", ".")) or ".." in name.split("/"):
                raise ValueError(f"{key}: expected a relative directory name such as {key.split('_')[0]}, was {name!r}")
        return self


class StorageSettings(Group):
    """Where segments, datasets and scratch data stand. Relative directories count from the working directory."""

    scratch_dir: Path = Path("./data")
    ingestion_storage: StoreLocation = StoreLocation()
    etl_storage_input: StoreLocation = StoreLocation()
    etl_storage_output: StoreLocation = StoreLocation()
    paths: StoragePaths = StoragePaths()


class TlsSettings(Group):
    """Files of a TLS connection to the bus."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def _without_credentials(servers: tuple[str, ...]) -> tuple[str, ...]:
    if any("@" in server for server in servers):
        raise ValueError(
            "expected addresses alone, such as nats://10.0.0.5:4222; user and password belong into nats.user and "
            "nats.password, or into the file that nats.credentials_file names, which nothing prints"
        )
    return servers


class NatsSettings(Group):
    """The bus. `servers` empty: an embedded server of our own."""

    servers: Annotated[tuple[str, ...], AfterValidator(_without_credentials)] = ()
    user: str | None = None
    password: SecretStr | None = None
    credentials_file: Path | None = None
    tls: TlsSettings = TlsSettings()
    stream_replicas: Literal[1, 3, 5] = 1
    lane_max_bytes: SizeBytes = 4 * 10**9
    bus_grace_seconds: DurationSeconds = 600
    max_payload: SizeBytes = 8_388_608
    lease_ttl_seconds: Count = 10
    unsafe_durability: bool = False

    @model_validator(mode="after")
    def _signs_in_one_way(self) -> Self:
        if (self.user is None) != (self.password is None):
            given, missing = ("user", "password") if self.password is None else ("password", "user")
            raise ValueError(f"{given} is given and {missing} is not: expected both, or neither")
        if self.user is not None and self.credentials_file is not None:
            raise ValueError("expected user and password, or credentials_file, was both")
        return self


class ChannelMethod(StrEnum):
    """ccxt's methods that can be captured; the keys of `channels`."""

    WATCH_ORDER_BOOK = "watchOrderBook"
    WATCH_TRADES = "watchTrades"
    WATCH_TICKER = "watchTicker"
    WATCH_TICKERS = "watchTickers"
    WATCH_BIDS_ASKS = "watchBidsAsks"
    WATCH_OHLCV = "watchOHLCV"
    WATCH_LIQUIDATIONS = "watchLiquidations"
    WATCH_FUNDING_RATE = "watchFundingRate"
    WATCH_FUNDING_RATES = "watchFundingRates"
    WATCH_MARK_PRICE = "watchMarkPrice"
    WATCH_MARK_PRICES = "watchMarkPrices"


class MarketType(StrEnum):
    """ccxt's types of markets."""

    SPOT = "spot"
    MARGIN = "margin"
    SWAP = "swap"
    FUTURE = "future"
    OPTION = "option"


class Timeframe(StrEnum):
    """How long a candle of `watchOHLCV` lasts."""

    SECOND = "1s"
    MINUTE = "1m"
    MINUTES_5 = "5m"
    MINUTES_15 = "15m"
    HOUR = "1h"
    HOURS_4 = "4h"
    DAY = "1d"


class MarketFilter(Group):
    """Every active market of an exchange with this quote currency, of this type, or both."""

    quote: str | None = None
    type: MarketType | None = None

    @model_validator(mode="after")
    def _filters(self) -> Self:
        if self.quote is None and self.type is None:
            raise ValueError('expected quote, type or both, such as {quote: USDT, type: swap}; ["*"] is every market')
        return self


def _check_market_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if ALL_MARKETS in names and len(names) > 1:
        raise ValueError(f'"{ALL_MARKETS}" means every active market and stands alone')
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"market {name!r} stands twice")
    return names


def _markets_kind(value: object) -> str:
    return "filter" if isinstance(value, Mapping | MarketFilter) else "names"


Markets = Annotated[
    Annotated[tuple[str, ...], AfterValidator(_check_market_names), Tag("names")]
    | Annotated[MarketFilter, Tag("filter")],
    Discriminator(_markets_kind),
]


def check_via(via: str | None, *, example: str = "127.0.0.1:8800") -> None:
    """Check the host:port of what stands in for a venue.

    Raises:
        ValueError: It is none; the example is one.
    """
    if via is not None:
        host, colon, port = via.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) <= _PORT_MAX):
            raise ValueError(f"via: expected host:port such as {example}, was {via!r}")


class ExchangeSettings(Group):
    """One exchange reached through ccxt. `via` is host:port of what stands in for every endpoint of the exchange.

    `legs` 2: two collectors capture the same feeds of each shard, apart from one another.
    """

    api_key: SecretStr = SecretStr("")
    api_secret: SecretStr = SecretStr("")
    max_orderbook_depth: Count = 50
    timeframe: Timeframe = Timeframe.MINUTE
    via: str | None = None
    options: Mapping[str, JsonValue] = Field(default_factory=dict)
    shards: Count = 1
    legs: Literal[1, 2] = 1
    channels: Mapping[ChannelMethod, Markets] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _via_is_an_address(self) -> Self:
        check_via(self.via)
        return self

    def market_names(self) -> tuple[str, ...]:
        """Return every market named in any channel, each once; what `*` and filters stand for is not known here."""
        listed = [name for markets in self.channels.values() if isinstance(markets, tuple) for name in markets]
        return tuple(dict.fromkeys(name for name in listed if name != ALL_MARKETS))


class CcxtSettings(Group):
    """The exchanges reached through ccxt, by ccxt's id."""

    exchanges: Mapping[str, ExchangeSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_can_stand(self) -> Self:
        for exchange, settings in self.exchanges.items():
            try:
                check_venue("exchange", exchange)
                check_distinct_symbols(exchange, settings.market_names())
            except (ConfigurationError, NameRefusedError) as error:
                raise ValueError(str(error)) from error
        return self


class CoinbaseChannel(StrEnum):
    """Coinbase's own channels that can be captured; the keys of `coinbase.channels`."""

    LEVEL2 = "level2"
    MARKET_TRADES = "market_trades"
    TICKER = "ticker"
    CANDLES = "candles"


class CoinbaseSettings(Group):
    """Coinbase Advanced Trade without ccxt. `via` is host:port of what stands in for it.

    `api_secret` is the private key of a Coinbase Developer Platform key, EC or Ed25519; no channel here needs one.
    """

    api_key: SecretStr = SecretStr("")
    api_secret: SecretStr = SecretStr("")
    max_orderbook_depth: Count = 50
    via: str | None = None
    shards: Count = 1
    products_per_connection: Count = 10
    channels: Mapping[CoinbaseChannel, Markets] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _via_is_an_address(self) -> Self:
        check_via(self.via)
        return self
