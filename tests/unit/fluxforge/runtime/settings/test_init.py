import os
from pathlib import Path

import pytest
import yaml

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import MarketFilter, load
from fluxforge.runtime.settings.keys import all_paths
from fluxforge.runtime.settings.tree import Settings

EXAMPLE = Path(__file__).parents[5] / "config/config.example.yaml"


@pytest.fixture(autouse=True)
def _no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("FLUXFORGE__")]:
        monkeypatch.delenv(name)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(written(tmp_path, text))
    return str(refused.value).replace(str(tmp_path), "")


def test_the_example_differs_from_the_defaults_in_its_one_exchange_only() -> None:
    example, defaults = load(EXAMPLE).model_dump(), load(None).model_dump()
    assert {key for key in example if example[key] != defaults[key]} == {"ccxt"}
    assert list(example["ccxt"]["exchanges"]) == ["binanceus"]


def test_the_example_names_every_key_there_is() -> None:
    def keys(tree: object) -> set[str]:
        return (
            {str(key) for key in tree} | {name for value in tree.values() for name in keys(value)}
            if isinstance(tree, dict)
            else set()
        )

    named = keys(yaml.safe_load(EXAMPLE.read_text()))
    absent = {"coinbase", "databento", "ibkr"}  # absent means off
    s3 = {"s3", "bucket", "region", "endpoint_url", "access_key_id", "secret_access_key", "prefix", "addressing"}
    other_methods = {path[-1] for path in all_paths(Settings) if path[-1].startswith("watch")}
    known = {path[-1] for path in all_paths(Settings) if path[0] not in absent} - {"*"} - s3 - other_methods
    assert known - named == set()


def test_the_sources_that_the_example_leaves_out_can_be_taken_from_it_as_they_stand(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    begin = lines.index(next(line for line in lines if line.startswith("# databento:")))
    text = "\n".join(line.removeprefix("# ") for line in lines[begin : lines.index("", begin)])
    settings = load(written(tmp_path, text.replace('api_key: ""', "api_key: db-key")))
    assert settings.databento is not None
    assert list(settings.databento.datasets) == ["GLBX.MDP3"]


def test_no_file_gives_the_defaults() -> None:
    settings = load(None)
    assert settings.ingestion.batch_size == 100
    assert settings.nats.lane_max_bytes == 4_000_000_000
    assert settings.retention.quarantine == 30 * 86_400
    assert settings.etl.channels.orderbook.processor_options.bar_durations == (1, 5, 30, 60)
    assert settings.spool_dir == Path("data/spool")


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "# nothing\n")) == load(None)


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "ingestion: {batch_size: 7, linger_ms: 3}")
    monkeypatch.setenv("FLUXFORGE__INGESTION__BATCH_SIZE", "9")
    settings = load(path)
    assert (settings.ingestion.batch_size, settings.ingestion.linger_ms) == (9, 3)


def test_a_fault_of_the_environment_is_not_put_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "ingestion: {batch_size: 7}")
    monkeypatch.setenv("FLUXFORGE__INGESTION__BATCH_SIZE", "many")
    monkeypatch.setenv("FLUXFORGE__INGESTION__LINGER_MS", "x")
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert str(refused.value).splitlines() == [
        "environment variable FLUXFORGE__INGESTION__BATCH_SIZE: ingestion.batch_size: expected an integer, was 'many'",
        "environment variable FLUXFORGE__INGESTION__LINGER_MS: ingestion.linger_ms: expected an integer, was 'x'",
    ]


def test_settings_are_frozen() -> None:
    settings = load(None)
    with pytest.raises(ValueError, match="frozen"):
        settings.etl.workers = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ingestion:\n  batch_siz: 3\n",
            "/config.yaml:2: ingestion.batch_siz: unknown key; nearest is ingestion.batch_size",
        ),
        ("batch_size: 3", "/config.yaml:1: batch_size: unknown key; nearest is ingestion.batch_size"),
        (
            "ccxt:\n  exchanges:\n    kraken:\n      watchTrades: [A/B]\n",
            "config.yaml:4: ccxt.exchanges.kraken.watchTrades: unknown key; nearest is ccxt.exchanges.kraken.channels.",
        ),
        (
            "ccxt: {exchanges: {kraken: {channels: {watchTrade: [A/B]}}}}",
            "channels.watchTrade: unknown key; nearest is ccxt.exchanges.kraken.channels.watchTrades",
        ),
        ("ingestion: {queue_maxsize: lots}", "ingestion.queue_maxsize: expected an integer, was 'lots'"),
        ("ingestion: {queue_maxsize: true}", "ingestion.queue_maxsize: expected an integer, was True"),
        ("ingestion: {enable_fsync: 3.5}", "ingestion.enable_fsync: expected true or false, was 3.5"),
        ("ingestion: []", "ingestion: expected a group of keys, was []"),
        ("nats:", "nats: expected a group of keys, was nothing"),
        (
            "nats: {lane_max_bytes: 4 potatoes}",
            "nats.lane_max_bytes: expected a size such as 4GB, 100MB or 64MiB, or a number of bytes, was '4 potatoes'",
        ),
        ("retention: {dead: 3x}", "retention.dead: expected a duration such as 30d"),
        ("etl: {workers: 0}", "etl.workers: should be greater than or equal to 1, was 0"),
        (
            "etl: {channels: {trades: {partition_cols: [day]}}}",
            "partition column 'day': expected one of date, exchange",
        ),
        ("ccxt: {exchanges: {kra-ken: {}}}", "exchange 'kra-ken' refused: lower-case letters and digits only"),
        ("ccxt: {exchanges: {kraken: {via: localhost}}}", "via: expected host:port such as 127.0.0.1:8800"),
        ('ccxt: {exchanges: {kraken: {channels: {watchTrades: ["*", A/B]}}}}', '"*" means every active market'),
        ("ccxt: {exchanges: {kraken: {channels: {watchTrades: [A/B, A/B]}}}}", "market 'A/B' stands twice"),
        (
            "ccxt: {exchanges: {kraken: {channels: {watchTrades: [A/B], watchTicker: [A-B]}}}}",
            "markets 'A/B' and 'A-B' share the symbol id 'A-B'",
        ),
        (
            "coinbase: {channels: {level3: [A/B]}}",
            "coinbase.channels.level3: unknown key; nearest is coinbase.channels.level2",
        ),
        ("coinbase: {via: localhost}", "via: expected host:port such as 127.0.0.1:8800"),
        ("coinbase: {via: 'a:\N{SUPERSCRIPT TWO}'}", "via: expected host:port such as 127.0.0.1:8800"),
        ("coinbase: {channels: {ticker: [A/B, A/B]}}", "market 'A/B' stands twice"),
        (
            "coinbase: {products_per_connection: 0}",
            "coinbase.products_per_connection: should be greater than or equal to 1",
        ),
        ("storage: {ingestion_storage: {backend: s3}}", "backend s3: expected a group `s3` with at least a bucket"),
        ("storage: {paths: {raw_dir: ../raw}}", "raw_dir: expected a relative directory name"),
        ("nats: {max_payload: 131072}", "ingestion.block_max_bytes: expected at most nats.max_payload less 64 KiB"),
    ],
)
def test_what_cannot_be_used_is_refused_by_place_key_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "etl:\n  workers: 0\nnats:\n  stream_replicas: 2\nwhat: 1\n").splitlines()
    assert [line.split(": ")[0] for line in lines] == ["/config.yaml:4", "/config.yaml:2", "/config.yaml:5"]


def test_a_market_filter_is_read_as_one(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "ccxt: {exchanges: {kraken: {channels: {watchTrades: {quote: USDT}}}}}"))
    assert settings.ccxt.exchanges["kraken"].channels["watchTrades"] == MarketFilter(quote="USDT")


def test_secrets_are_masked_wherever_settings_are_printed(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "ccxt: {exchanges: {kraken: {api_key: hunter2, api_secret: hunter3}}}"))
    assert settings.ccxt.exchanges["kraken"].api_key.get_secret_value() == "hunter2"
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter" not in text


@pytest.mark.parametrize(
    "text",
    [
        "ccxt: {exchanges: {kraken: {api_key: [canary]}}}",
        "ccxt: {exchanges: {kraken: {api_secret: {canary: canary}}}}",
        "ccxt: {exchanges: {kraken: [{api_key: canary}]}}",
        "ccxt: {exchanges: canary}",
        "storage: {ingestion_storage: {s3: {bucket: b, secret_access_key: [canary]}}}",
        "nats: {servers: ['nats://user:canary@10.0.0.5:4222']}",
    ],
)
def test_a_refusal_shows_no_value_that_may_be_secret(tmp_path: Path, text: str) -> None:
    assert "canary" not in refusal(tmp_path, text)


def test_a_refused_variable_shows_no_value_that_may_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXFORGE__CCXT__EXCHANGES", '{"kraken": canary')
    with pytest.raises(ConfigurationError, match=r"expected JSON or a plain value$") as refused:
        load(None)
    assert "canary" not in str(refused.value)
