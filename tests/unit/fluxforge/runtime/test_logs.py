import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from fluxforge.runtime import logs


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in text.splitlines()]


def test_an_event_is_one_json_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="json")
    structlog.get_logger().info("segment.sealed", records=3, name='a"\n\x1b[31m')
    structlog.get_logger().debug("segment.looked_at")
    captured = capsys.readouterr()
    (line,) = lines(captured.err)
    assert captured.out == ""
    assert line.pop("at")
    assert line == {
        "event": "segment.sealed",
        "level": "info",
        "service": "segmenter",
        "records": 3,
        "name": 'a"\n\x1b[31m',
    }


def test_auto_is_json_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="auto")
    structlog.get_logger().info("segment.sealed")
    assert lines(capsys.readouterr().err)[0]["event"] == "segment.sealed"


def test_other_libraries_take_the_same_form_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="json")
    logging.getLogger("nats").info("chatter")
    logging.getLogger("nats").warning("slow consumer")
    (line,) = lines(capsys.readouterr().err)
    assert (line["event"], line["level"], line["service"]) == ("slow consumer", "warning", "segmenter")


def test_an_error_of_another_library_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="json")
    logging.getLogger("nats").error("encountered error", exc_info=ValueError("theirs"))
    (line,) = lines(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("encountered error", "warning")
    assert "ValueError: theirs" in str(line["exception"])


def test_a_quoted_request_loses_its_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="json")
    structlog.get_logger().warning(
        "markets.load_failed", error="GET http://x/y?timestamp=1&signature=ab12&apiKey=k 404"
    )
    logging.getLogger("ccxt").warning("POST https://x/?listenKey=abc failed")
    first, second = lines(capsys.readouterr().err)
    assert first["error"] == "GET http://x/y?timestamp=1&signature=***&apiKey=*** 404"
    assert second["event"] == "POST https://x/?listenKey=*** failed"


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="json")
    structlog.get_logger().error("service.crashed", exc_info=ValueError("a bug"))
    (line,) = lines(capsys.readouterr().err)
    assert "ValueError: a bug" in str(line["exception"])


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("segmenter", level="INFO", log_format="console")
    structlog.get_logger().info("segment.sealed", records=3)
    assert "segment.sealed" in capsys.readouterr().err
