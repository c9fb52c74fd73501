import pytest

from fluxforge_collector.ibkr_source.unread import concerned


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        (["12", "1", "7", "x"], [7]),
        (["99", "8", "2", "x"], [8]),
        (["4", "2", "7"], [7]),
        (["4", "2", "-1"], [7, 8]),
        (["12", "1", "6", "x"], []),
        (["12", "7"], [7, 8]),
        (["12", "7", "x"], [7, 8]),
        (["x", "7"], [7, 8]),
        ([], [7, 8]),
        (["999", "7"], []),
    ],
)
def test_a_message_is_of_the_request_it_names_and_of_any_where_it_names_none(
    fields: list[str], numbers: list[int]
) -> None:
    assert concerned(fields, {7: "", 8: ""}) == numbers
