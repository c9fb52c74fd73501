"""The pictures of the dashboards: one for each, of what a Prometheus says; what says nothing is named."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from tools.dashboards.panels import boards

pytestmark = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not there")


class Prometheus(BaseHTTPRequestHandler):
    """Answers every query with two points, but those about quarantine (nothing) and about rounds (no number)."""

    def do_GET(self) -> None:
        form = parse_qs(urlparse(self.path).query)
        end, query = float(form["end"][0]), form["query"][0]
        value = "NaN" if "compactor_round_duration" in query else "3"
        series = [{"metric": {"lane": "one"}, "values": [[end - 60, value], [end, value]]}]
        body = json.dumps({"data": {"result": [] if "quarantined_lines" in query else series}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Prometheus) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_each_dashboard_becomes_a_picture_and_silent_panels_are_named(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools.dashboards.render import main  # noqa: PLC0415 - needs matplotlib

    monkeypatch.setattr("sys.argv", ["render", server, str(tmp_path)])
    assert main() == 1
    assert {path.name for path in tmp_path.iterdir()} == {f"{board['uid']}.png" for board in boards()}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert capsys.readouterr().out.splitlines() == [
        "no data: FluxForge: segmenter and ETL: Quarantined lines",
        "no data: FluxForge: storage and compactor: It took",
    ]


def test_a_value_is_said_in_its_unit() -> None:
    from tools.dashboards.render import said  # noqa: PLC0415 - needs matplotlib

    assert said(0.25, "percentunit") == "25%"
    assert said(0.012, "s") == "12 ms"
    assert said(4_000, "s") == "4,000 s"
    assert said(2_500_000, "bytes") == "2.5 MB"
    assert said(1_200, "ops") == "1.2 k/s"
    assert said(7, "short") == "7"
