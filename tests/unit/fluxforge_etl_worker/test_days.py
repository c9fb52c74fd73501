import pytest

from fluxforge.domain.errors import ConfigurationError
from fluxforge.domain.segment import PreviousSegment
from fluxforge_etl_worker.days import Day, meets
from tests.unit.fluxforge_etl_worker.samples import S, manifest_of

DAY = Day.parse("2023-11-15")


def segment(after, first, last):
    previous = None if after is None else PreviousSegment("before", 1, after)
    return manifest_of(b"", first=first, last=last, previous=previous)


def test_a_day_is_its_nanoseconds():
    assert (DAY.begin_ns, DAY.end_ns) == (1_700_006_400 * S, 1_700_092_800 * S)


@pytest.mark.parametrize("text", [None, "", "yesterday", "2023-13-01", "15.11.2023"])
def test_what_is_no_day_is_refused_with_one_that_is(text):
    with pytest.raises(ConfigurationError, match="2026-11-22"):
        Day.parse(text)


@pytest.mark.parametrize(
    ("after", "first", "last", "met"),
    [
        (None, DAY.begin_ns - 5, DAY.begin_ns - 1, False),
        (None, DAY.begin_ns - 5, DAY.begin_ns, True),
        (DAY.begin_ns - 9, DAY.begin_ns - 5, DAY.begin_ns - 1, False),
        (DAY.begin_ns - 9, DAY.end_ns + 5, DAY.end_ns + 6, True),  # no record of the day, but its bars end here
        (DAY.end_ns - 1, DAY.end_ns + 5, DAY.end_ns + 6, True),  # the day's last bar ends at midnight
        (DAY.end_ns, DAY.end_ns + 5, DAY.end_ns + 6, False),
        (None, DAY.end_ns - 1, DAY.end_ns + 5, True),
        (None, DAY.end_ns, DAY.end_ns + 5, True),
        (None, DAY.end_ns + 1, DAY.end_ns + 5, False),
    ],
)
def test_a_segment_meets_a_day_when_rows_of_that_day_end_in_it(after, first, last, met):
    assert meets(segment(after, first, last), DAY, (1, 60)) is met


def test_a_bar_that_does_not_divide_the_day_ends_on_the_next():
    long_s = 5 * 86_400
    late = segment(DAY.end_ns + 1, DAY.end_ns + 5, DAY.end_ns + 9)
    assert meets(late, DAY, (long_s,))
    assert DAY.last_bar_end_ns((1, long_s)) % (long_s * S) == 0
