import pytest

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.status import (
    CollectorStatus,
    EtlStatus,
    FeedStatus,
    Instance,
    LaneStatus,
    SegmenterStatus,
    Status,
    status_from_json,
    status_subject,
    status_to_json,
)

STATUSES: list[Status] = [
    CollectorStatus("l", 1, True, 2, 3, 4, 5, 6, 7, (FeedStatus("trades", "A-B", 1, None, 3, True),)),  # noqa: FBT003
    SegmenterStatus(1, True, (LaneStatus("l", 1, 2, 3, 4, 5, 6, 7),)),  # noqa: FBT003
    EtlStatus(1, False, 2, 3, 4, 5, {"trades": 6}),  # noqa: FBT003
]


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_comes_back(status: Status) -> None:
    assert status_from_json(status_to_json(status)) == status


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"service":"x"}', b'{"service":"etl-worker"}'])
def test_what_is_no_status_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError, match="status"):
        status_from_json(text)


def test_a_subject_names_the_process() -> None:
    subject = status_subject("collector", "ccxt-binance-0of1")
    assert subject == "status.collector.ccxt-binance-0of1"
    assert Instance.parse(subject) == Instance("collector", "ccxt-binance-0of1")
