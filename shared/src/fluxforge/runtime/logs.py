"""Logs: one structured line per event on stderr; JSON for machines, colours for a person at a terminal.

Stdout is left alone: a service prints nothing there but its final status. Lines of other libraries take the same form,
but none is above a warning: what ends the process, or needs somebody, is an error of ours and said once.
"""

import logging
import re
import sys
from typing import Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_FOREIGN_LEVEL: Final = logging.WARNING
_CREDENTIAL: Final = re.compile(r"(?i)\b(signature|api_?key|listen_?key|secret|password|passphrase|token)=[^&\s\"']+")


def configure(service: str, *, level: str, log_format: str) -> None:
    """Set up logging of this process; `log_format` is `json`, `console` or `auto` (console at a terminal)."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _bind_service(service),
        _mask,
    ]
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.format_exc_info, _mask, structlog.processors.JSONRenderer(serializer=_json)]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _demote],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(_FOREIGN_LEVEL, logging.getLevelNamesMapping()[level]))


def _bind_service(service: str) -> Processor:
    def bind(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return bind


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask what a library quotes of a request that it signed."""
    for key, value in event.items():
        if isinstance(value, str) and "=" in value:
            event[key] = _CREDENTIAL.sub(r"\1=***", value)
    return event


def _demote(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if event["level"] in {"error", "critical"}:
        event["level"] = "warning"
    return event


def _json(event: EventDict, **_options: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
