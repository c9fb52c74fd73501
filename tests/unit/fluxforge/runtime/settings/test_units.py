import pytest

from fluxforge.runtime.settings.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4GB", 4 * 10**9), ("64 MiB", 64 * 2**20), ("1.5kb", 1500), ("7B", 7), ("2TB", 2 * 10**12)],
)
def test_sizes_are_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("15m", 900), ("10s", 10)])
def test_durations_are_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "GB", "4", "-4GB", "4 GB 3", "4XB", "NaNGB"])
def test_text_without_number_and_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 4GB"):
        parse_size(text)


def test_what_is_no_text_is_left_for_the_type_check() -> None:
    assert parse_size(4096) == 4096
    assert parse_duration(None) is None
