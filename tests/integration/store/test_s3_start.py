"""A store on S3 that cannot be used says at the start what to change; one that is away is waited for."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3
from fluxforge.adapters.s3 import S3Options, S3Store
from fluxforge.adapters.s3.client import new_client
from fluxforge.domain.errors import ConfigurationError, StoreUnavailableError
from tests.faketime import clock_library
from tests.ports import kept_port
from tests.s3_proxy import Fault, FaultyS3, Operation, faulty_s3

Change = Callable[[S3Options], S3Options]


@pytest.fixture
def options(s3_server: EmbeddedS3) -> S3Options:
    return s3_server.options(secrets.token_hex(4))


@pytest.fixture
def way(s3_server: EmbeddedS3) -> Iterator[FaultyS3]:
    with faulty_s3(s3_server.url) as opened:
        yield opened


def test_a_bucket_that_can_be_used_is_left_as_it_was(options: S3Options) -> None:
    store = S3Store(options)
    store.probe()
    assert list(store.keys("")) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda options: replace(options, bucket="absent"), r"s3://absent/.*does not exist; create it"),
        (lambda options: replace(options, bucket="No bucket"), r"No bucket"),
        (lambda options: replace(options, access_key_id="other"), r"check s3\.access_key_id"),
        (lambda options: replace(options, secret_access_key="other"), r"s3\.secret_access_key"),
        (lambda options: replace(options, endpoint_url="127.0.0.1:1"), r"127\.0\.0\.1:1"),
    ],
    ids=["bucket", "name of a bucket", "key", "secret", "endpoint"],
)
def test_what_is_wrong_is_named_with_what_would_be_right(options: S3Options, change: Change, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        S3Store(change(options)).probe()
    assert str(options.secret_access_key) not in str(refused.value)


def test_an_endpoint_that_is_away_may_come_back(options: S3Options) -> None:
    with kept_port() as port:
        there = replace(options, endpoint_url=f"http://127.0.0.1:{port}")
        store = S3Store(there, client=new_client(there, attempts=1))
        with pytest.raises(StoreUnavailableError, match="Could not connect"):
            store.probe()


def test_keys_without_the_right_to_write_are_refused(options: S3Options, way: FaultyS3) -> None:
    way.plan(Operation.PUT, Fault.DENIED, times=100)
    with pytest.raises(ConfigurationError, match="grant them s3:GetObject, PutObject"):
        S3Store(replace(options, endpoint_url=way.url)).probe()


def test_an_endpoint_that_overwrites_is_refused(options: S3Options, way: FaultyS3) -> None:
    way.plan(Operation.PUT, Fault.OVERWRITES, times=100)
    with pytest.raises(ConfigurationError, match="8 of 8 writers of one key won, expected 1"):
        S3Store(replace(options, endpoint_url=way.url)).probe()


def test_a_clock_that_differs_too_much_is_named(options: S3Options) -> None:
    library = clock_library()
    script = (
        "import sys\n"
        "from fluxforge.adapters.s3 import S3Options, S3Store\n"
        "from fluxforge.domain.errors import ConfigurationError\n"
        "url, key, secret = sys.argv[1:]\n"
        "try:\n"
        "    there = S3Options('lake', endpoint_url=url, access_key_id=key, secret_access_key=secret)\n"
        "    S3Store(there).create('a', b'')\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )
    keys = (str(options.endpoint_url), str(options.access_key_id), str(options.secret_access_key))
    said = subprocess.run(
        [sys.executable, "-c", script, *keys],
        env={**os.environ, "LD_PRELOAD": str(library), "FAKETIME": "-1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "this machine's clock differs too much from the endpoint's" in said


def test_an_upload_that_nobody_finished_is_swept_once_it_is_old(
    options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client(options)
    store = S3Store(options, client=client)
    at = {"Bucket": options.bucket, "Key": f"{store.prefix}large"}

    def unfinished() -> list[str]:
        found = client.list_multipart_uploads(Bucket=options.bucket, Prefix=store.prefix).get("Uploads", ())
        return [upload["Key"] for upload in found]

    client.upload_part(**at, UploadId=client.create_multipart_upload(**at)["UploadId"], PartNumber=1, Body=b"x")
    store.probe()
    assert unfinished() == [at["Key"]]
    monkeypatch.setattr("fluxforge.adapters.s3.store._STALE_UPLOAD", timedelta(seconds=-60))
    store.probe()
    assert unfinished() == []
    assert list(store.keys("")) == []
