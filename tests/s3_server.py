"""A real S3 for tests: one SeaweedFS for all tests of a process; each works below a prefix of its own."""

from collections.abc import Iterator

import pytest

from fluxforge.adapters.embedded_s3 import EmbeddedS3, executable, running_s3
from fluxforge.domain.errors import ConfigurationError


def need_s3() -> None:
    """Skip where there is no server to run."""
    try:
        executable()
    except ConfigurationError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    need_s3()
    with running_s3(tmp_path_factory.mktemp("s3") / "data") as server:
        yield server
