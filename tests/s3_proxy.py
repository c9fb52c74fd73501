"""A way to S3 that fails: requests of one kind are refused, cut off, answered too late, or their answer is lost."""

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override


class Operation(StrEnum):
    """What a request wants."""

    CREATE_UPLOAD = "create upload"
    UPLOAD_PART = "upload part"
    COMPLETE = "complete"
    PUT = "put"
    COPY = "copy"
    GET = "get"
    LIST = "list"
    HEAD = "head"
    DELETE = "delete"


class Fault(StrEnum):
    """What becomes of it."""

    TOO_MANY = "429"
    FAILED = "500"
    SLOW_DOWN = "503 SlowDown"
    RESET = "connection reset"
    LOST = "answer lost after success"
    CUT = "answer cut off in the middle"
    LATE = "answer too late"
    DENIED = "403 AccessDenied"
    OVERWRITES = "says it wrote what it refused to"


_REFUSALS = {
    Fault.TOO_MANY: (429, "TooManyRequests"),
    Fault.FAILED: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.DENIED: (403, "AccessDenied"),
}


class FaultyS3:
    """The way. The next `times` requests of `operation` meet `fault`; `met` counts those that did."""

    def __init__(self, upstream_url: str) -> None:
        self.upstream = urlsplit(upstream_url).netloc
        self.url = ""
        self.met = 0
        self._plan: tuple[Operation, Fault, int] | None = None
        self._lock = threading.Lock()
        self.released = threading.Event()
        """Set when whoever waits for a late answer need not wait any more."""

    def plan(self, operation: Operation, fault: Fault, *, times: int) -> None:
        with self._lock:
            self.met, self._plan = 0, (operation, fault, times)

    def fault_of(self, operation: Operation) -> Fault | None:
        with self._lock:
            if self._plan is None or self._plan[0] is not operation or self._plan[2] == 0:
                return None
            self.met += 1
            self._plan = (operation, self._plan[1], self._plan[2] - 1)
            return self._plan[1]


@contextmanager
def faulty_s3(upstream_url: str) -> Iterator[FaultyS3]:
    """Open a way to a server."""
    way = FaultyS3(upstream_url)
    server = _Server(way)
    way.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield way
    finally:
        way.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, way: FaultyS3) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.way = way


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        way = self.server.way
        fault = way.fault_of(self._operation())
        if fault in _REFUSALS:
            self._refuse(*_REFUSALS[fault])
        elif fault is Fault.RESET:
            self._reset()
        elif fault is Fault.LATE:
            way.released.wait()
            self.close_connection = True
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815 - the base class asks for these names

    def _operation(self) -> Operation:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self.command == "POST":
            return Operation.CREATE_UPLOAD if "uploads" in query else Operation.COMPLETE
        if self.command == "PUT":
            if "partNumber" in query:
                return Operation.UPLOAD_PART
            return Operation.COPY if "x-amz-copy-source" in self.headers else Operation.PUT
        if self.command == "GET":
            return Operation.LIST if "list-type" in query else Operation.GET
        return Operation.HEAD if self.command == "HEAD" else Operation.DELETE

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        upstream = http.client.HTTPConnection(self.server.way.upstream, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fault is Fault.LOST:
            self._reset()
            return
        if fault is Fault.OVERWRITES and answer.status == HTTPStatus.PRECONDITION_FAILED:
            self._answer(HTTPStatus.OK)
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.headers["Content-Length"] or str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault is Fault.CUT else content)
        if fault is Fault.CUT:
            self.wfile.flush()
            self._reset()

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    @override
    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return  # it was reset

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
