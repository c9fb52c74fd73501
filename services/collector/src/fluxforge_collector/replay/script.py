"""Scripts: a tape sorted by what a client asks for: a conversation per connection, answers per request. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from fluxforge.domain.control import Control, Event
from fluxforge_collector.replay.tape import Step
from fluxforge_collector.wire_records import Answer, Frame, Setup

_KEEPALIVES: Final = ("ping", "pong", "heartbeat")
_WORD_CHARS_MAX: Final = 200


@dataclass(slots=True)
class Conversation:
    """One connection: frames with their times since it stood, ns. `lasts_ns` None: it was still open at the end."""

    path: str
    began_ns: int
    frames: list[tuple[int, Frame]] = field(default_factory=list)
    lasts_ns: int | None = None


@dataclass(slots=True)
class Script:
    """What a stand-in of the exchange has to say. Paths begin with the host: `/stream.binance.us/ws`."""

    conversations: list[Conversation] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=lambda: defaultdict(list))

    def answer(self, method: str, path: str) -> Answer | None:
        """Return what a request is answered next, the last answer ever again; any of its path where none fits."""
        told = self.answers.get((method, path)) or next(
            (found for (of, at), found in self.answers.items() if of == method and bare(at) == bare(path)), None
        )
        if not told:
            return None
        return told.pop(0) if len(told) > 1 else told[0]


def script_of(tape: Iterable[Step]) -> Script:
    """Return the script of a tape, which is read to its end.

    Raises:
        InputFileError: The tape has a hole.
    """
    script = Script()
    open_now: dict[int, Conversation] = {}
    via: str | None = None
    for step in tape:
        conversation = open_now.get(step.conn)
        match step.item:
            case Setup():
                via = step.item.via
                open_now.clear()
            case Answer() if step.item.status is not None:
                script.answers[step.item.method, path_of(step.item.url, via)].append(step.item)
            case Frame() if conversation and not (step.item.sent and is_keepalive(step.item.payload)):
                conversation.frames.append((step.at_ns - conversation.began_ns, step.item))
            case Control(event=Event.CONNECTED):
                open_now[step.conn] = Conversation(path_of(step.item.reason or "", via), step.at_ns)
                script.conversations.append(open_now[step.conn])
            case Control(event=Event.DISCONNECTED, repeat=False) if conversation:
                open_now.pop(step.conn).lasts_ns = step.at_ns - conversation.began_ns
            case _:
                continue
    return script


def path_of(url: str, via: str | None) -> str:
    """Return host, path and query of what was asked for, whether it was led through a stand-in or not."""
    parts = urlsplit(url)
    host = "" if via is not None and parts.netloc == via else f"/{parts.netloc}"
    return f"{host}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def is_keepalive(message: str | bytes) -> bool:
    """Return whether a client's message only keeps its connection alive: those are sent by the clock."""
    text = message.decode(errors="replace") if isinstance(message, bytes) else message
    return len(text) <= _WORD_CHARS_MAX and any(word in text.lower() for word in _KEEPALIVES)


def bare(path: str) -> str:
    """Return a path without its query, which may hold tokens and times."""
    return path.partition("?")[0]
