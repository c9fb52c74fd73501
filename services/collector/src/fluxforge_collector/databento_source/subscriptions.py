"""Subscriptions: what a collector asks Databento's gateway for, out of the settings of one dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from databento.common.publishers import Dataset

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings import Settings
from fluxforge.runtime.settings.databento import exchange_id
from fluxforge_collector.databento_source.translate import channel_of

_PORT: Final = 13_000


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where a dataset is served, and how one signs in."""

    host: str
    port: int
    dataset: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is asked of one gateway. `subscriptions`: schema -> symbols; `depth`: of rebuilt books."""

    lane: Lane
    gateway: Gateway
    stype_in: str
    depth: int
    subscriptions: Mapping[str, Sequence[str]]

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every feed that is asked for."""
        return tuple(self.feed(schema, symbol) for schema, symbols in self.subscriptions.items() for symbol in symbols)

    def feed(self, schema: str, symbol: str) -> Feed:
        """Return the feed that a symbol of a schema is."""
        return Feed(self.lane.source, self.lane.exchange, channel_of(schema), symbol)


def plan(settings: Settings, lane: Lane) -> Plan:
    """Return what the settings ask for of the dataset that a lane is of.

    Raises:
        ConfigurationError: The dataset is not configured, has nothing to capture, or is none of Databento's (the
            nearest that is one is named), or there is no key.
    """
    chosen = settings.databento
    datasets = {} if chosen is None else {exchange_id(name): name for name in chosen.datasets}
    dataset = datasets.get(lane.exchange)
    if chosen is None or dataset is None:
        known = ", ".join(sorted(datasets)) or "none"
        raise ConfigurationError(
            f"exchange {lane.exchange!r} is no dataset configured under databento.datasets; configured: {known}"
        )
    wanted = chosen.datasets[dataset]
    subscriptions = {schema.value: symbols for schema, symbols in wanted.channels.items() if symbols}
    if not subscriptions:
        raise ConfigurationError(f"databento.datasets.{dataset}.channels: nothing to capture; name symbols")
    _check_known(dataset)
    if not chosen.api_key.get_secret_value():
        raise ConfigurationError(
            "databento.api_key: missing; best set by FLUXFORGE__DATABENTO__API_KEY_FILE, which names a file"
        )
    host, port = f"{dataset.lower().replace('.', '-')}.lsg.databento.com", _PORT
    if chosen.via is not None:
        host, _, text = chosen.via.rpartition(":")
        port = int(text)
    gateway = Gateway(host, port, dataset, chosen.api_key.get_secret_value())
    return Plan(lane, gateway, wanted.stype_in, wanted.max_orderbook_depth, subscriptions)


def _check_known(dataset: str) -> None:
    known = [each.value for each in Dataset]
    if dataset not in known:
        nearest = get_close_matches(dataset, known, n=1, cutoff=0.0)[0]
        raise ConfigurationError(f"databento.datasets.{dataset}: unknown dataset; nearest is {nearest}")
