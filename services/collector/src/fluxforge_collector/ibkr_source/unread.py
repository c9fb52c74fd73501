"""Unread: whose a message may have been that could not be decoded, as far as its fields tell. Pure.

Source: ib_async's decoder, which knows by a message's first field, its kind, where the number of the request stands.
"""

from collections.abc import Collection, Sequence
from typing import Final

_NUMBER_AT: Final = dict.fromkeys((1, 2, 4, 12, 13, 45, 46, 50, 58), 2) | dict.fromkeys((91, 92, 99), 1)
"""The kinds that are heard; beside what makes records: errors, which data follows, and whose data is meant."""
_NO_REQUEST: Final = -1


def concerned(fields: Sequence[str], numbers: Collection[int]) -> list[int]:
    """Return which of the requests of these numbers a message may have been of: all, unless it tells."""
    try:
        at = _NUMBER_AT.get(int(fields[0]))
        if at is None:
            return []  # of a kind that nobody hears
        number = int(fields[at])
    except (IndexError, ValueError):
        return list(numbers)
    if number == _NO_REQUEST:
        return list(numbers)
    return [number] if number in numbers else []
