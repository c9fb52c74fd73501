"""Options: from the settings, credentials of three kinds, TLS."""

from types import SimpleNamespace

import pytest

from fluxforge.adapters.jetstream import BusOptions
from fluxforge.adapters.jetstream.options import inbox_prefix
from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings import load


def test_the_options_are_those_of_the_settings(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "nats: {servers: ['nats://a:1', 'nats://b:2'], lane_max_bytes: 1GB, stream_replicas: 3, lease_ttl_seconds: 7,"
        " unsafe_durability: true}\n"
    )
    options = BusOptions.from_settings(load(config).nats)
    assert options == BusOptions(
        servers=("nats://a:1", "nats://b:2"),
        lane_max_bytes=10**9,
        stream_replicas=3,
        lease_ttl_s=7,
        unsafe_durability=True,
    )


def test_no_server_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigurationError, match=r"nats\.servers is empty: name one"):
        BusOptions.from_settings(SimpleNamespace(servers=()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me:secret:with:colons\n", {"user": "me", "password": "secret:with:colons"}),
        (
            "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n",
            {"nkeys_seed_str": "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"},
        ),
        ("SUSAN:pw", {"user": "SUSAN", "password": "pw"}),
    ],
)
def test_credentials_are_told_apart_by_what_the_file_holds(tmp_path, text, expected):
    file = tmp_path / "credentials"
    file.write_text(text)
    assert BusOptions(servers=("x",), credentials_file=file).sign_in() == expected


def test_a_creds_file_is_handed_on_by_path(tmp_path):
    file = tmp_path / "my.creds"
    file.write_text("-----BEGIN NATS USER JWT-----\neyJ\n------END NATS USER JWT------\n")
    assert BusOptions(servers=("x",), credentials_file=file).sign_in() == {"user_credentials": str(file)}


def test_unreadable_and_unknown_credentials_are_configuration_errors(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        BusOptions(servers=("x",), credentials_file=tmp_path / "absent").sign_in()
    file = tmp_path / "credentials"
    file.write_text("just-a-token")
    with pytest.raises(ConfigurationError, match="expected user:password"):
        BusOptions(servers=("x",), credentials_file=file).sign_in()


def test_a_user_of_the_settings_signs_in_and_its_password_is_in_no_repr():
    options = BusOptions(servers=("x",), user="collector", password="hidden")
    assert options.sign_in() == {"user": "collector", "password": "hidden"}
    assert "hidden" not in repr(options)


@pytest.mark.parametrize(
    ("sign_in", "prefix"),
    [
        ({"user": "etl_worker", "password": "x"}, "_INBOX_etl_worker"),
        ({"user": "some.*", "password": "x"}, "_INBOX"),
        ({"nkeys_seed_str": "SU"}, "_INBOX"),
        ({}, "_INBOX"),
    ],
)
def test_answers_go_to_a_room_of_the_users_own(sign_in, prefix):
    assert inbox_prefix(sign_in) == prefix


def test_without_credentials_and_tls_files_there_is_neither():
    options = BusOptions(servers=("x",))
    assert options.sign_in() == {}
    assert options.tls_context() is None


def test_a_tls_file_that_cannot_be_used_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nats\.tls"):
        BusOptions(servers=("x",), ca_file=tmp_path / "absent.pem").tls_context()
