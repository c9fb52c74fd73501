"""Clock texts: nanoseconds since the epoch as the venues write time."""

from datetime import UTC, datetime


def iso(now_ns: int, digits: int) -> str:
    """Write UTC as `2026-08-09T21:05:48.228568804Z` with 6 or 9 digits of the second."""
    seconds, nanos = divmod(now_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}"[: 20 + digits] + "Z"
