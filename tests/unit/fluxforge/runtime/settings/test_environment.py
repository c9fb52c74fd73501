from pathlib import Path

import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings.environment import environment_tree
from fluxforge.runtime.settings.tree import Settings


def tree(**variables: str) -> dict[str, object]:
    return environment_tree(Settings, {f"FLUXFORGE__{name}": value for name, value in variables.items()})


def test_variables_become_a_tree() -> None:
    assert tree(ETL__WORKERS="3", NATS__SERVERS='["nats://a:1"]', LOG_LEVEL="DEBUG") == {
        "etl": {"workers": 3},
        "nats": {"servers": ["nats://a:1"]},
        "log_level": "DEBUG",
    }


def test_lists_may_be_written_with_commas() -> None:
    assert tree(NATS__SERVERS="nats://a:1, nats://b:2") == {"nats": {"servers": ["nats://a:1", "nats://b:2"]}}


def test_exchange_names_and_ccxt_methods_are_found_whatever_their_case() -> None:
    found = tree(CCXT__EXCHANGES__KRAKEN__CHANNELS__WATCHORDERBOOK='["A/B"]', CCXT__EXCHANGES__KRAKEN__SHARDS="2")
    assert found == {"ccxt": {"exchanges": {"kraken": {"channels": {"watchOrderBook": ["A/B"]}, "shards": 2}}}}


def test_text_is_left_as_it_is() -> None:
    found = tree(CCXT__EXCHANGES__KRAKEN__API_KEY="0123", STORAGE__SCRATCH_DIR="/data/on")
    assert found == {
        "ccxt": {"exchanges": {"kraken": {"api_key": "0123"}}},
        "storage": {"scratch_dir": "/data/on"},
    }


def test_options_of_ccxt_are_given_whole() -> None:
    found = tree(CCXT__EXCHANGES__KRAKEN__OPTIONS='{"defaultType": "swap"}')
    assert found == {"ccxt": {"exchanges": {"kraken": {"options": {"defaultType": "swap"}}}}}
    with pytest.raises(ConfigurationError, match="OPTIONS__DEFAULTTYPE: names no key"):
        tree(CCXT__EXCHANGES__KRAKEN__OPTIONS__DEFAULTTYPE="swap")


def test_other_variables_are_not_ours() -> None:
    assert environment_tree(Settings, {"PATH": "/bin", "FLUXFORGE_HOME": "x"}) == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ETL__WORKER", "FLUXFORGE__ETL__WORKERS for etl.workers"),
        ("BATCH_SIZE", "FLUXFORGE__INGESTION__BATCH_SIZE for ingestion.batch_size"),
        ("ETL__WORKERS__MORE", None),
        ("ETL__", None),
    ],
)
def test_a_variable_that_names_no_key_is_refused_with_the_nearest(name: str, nearest: str | None) -> None:
    with pytest.raises(ConfigurationError, match=f"environment variable FLUXFORGE__{name}: names no key") as refused:
        tree(**{name: "1"})
    assert nearest is None or nearest in str(refused.value)


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    found = tree(CCXT__EXCHANGES__KRAKEN__API_KEY_FILE=str(tmp_path / "key"))
    assert found == {"ccxt": {"exchanges": {"kraken": {"api_key": "hunter2"}}}}


def test_a_secret_that_cannot_be_read_is_refused_by_variable_and_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"API_KEY_FILE: cannot read the secret in '.*/absent'"):
        tree(CCXT__EXCHANGES__KRAKEN__API_KEY_FILE=str(tmp_path / "absent"))


def test_only_secrets_are_read_from_files() -> None:
    with pytest.raises(ConfigurationError, match="ETL__WORKERS_FILE: names no key"):
        tree(ETL__WORKERS_FILE="/etc/hostname")


def test_keys_that_end_in_file_are_keys() -> None:
    assert tree(NATS__CREDENTIALS_FILE="/run/nats.creds") == {"nats": {"credentials_file": "/run/nats.creds"}}
