"""Refusals: what a venue answers to a subscription that it does not grant, read off the raw frame. Pure.

ccxt passes over some of these, and the watch call would wait for ever.
"""

from typing import Any, Final

import orjson

TEXT_CHARS_MAX: Final = 4096
_REASONS: Final = ("error", "message", "msg", "errorMessage", "ret_msg", "reason")


def refusal_in(frame: str) -> str | None:
    """Return why a subscription was refused, or None where the frame says nothing like it."""
    if len(frame) > TEXT_CHARS_MAX or not ("error" in frame or "false" in frame):
        return None
    try:
        body = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict) or not _is_error(body):
        return None
    return next((_text(body[key]) for key in _REASONS if body.get(key)), frame[:200])


def _is_error(body: dict[str, Any]) -> bool:
    return (
        body.get("success") is False
        or body.get("event") == "error"
        or body.get("type") == "error"
        or bool(body.get("error"))
        or bool(body.get("errorMessage"))
    )


def _text(reason: Any) -> str:
    return reason if isinstance(reason, str) else orjson.dumps(reason).decode()
