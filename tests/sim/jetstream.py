"""A model of a JetStream server, as far as FluxForge uses one: streams, key-value, pull consumers; refusals by code.

Requests arrive as the subjects and bytes that a real server would get. It knows no connections: whoever hands over a
request gets the answers through `send(subject, reply, headers, data)`.
"""

import base64
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from tests.sim.loop import SimLoop

JSON = dict[str, Any]
EPOCH_NS = 1_765_288_800_000_000_000
_NS = 1_000_000_000
_WRONG_SEQUENCE = (400, 10071, "wrong last sequence")


class Send(Protocol):
    """The way back to whoever asked."""

    @property
    def is_open(self) -> bool: ...

    def __call__(self, subject: str, reply: str, headers: dict[str, str] | None, data: bytes, /) -> None: ...


class RefusedError(Exception):
    """An answer with an error."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.answer = {"error": {"code": code, "err_code": err_code, "description": description}}


@dataclass(slots=True)
class Message:
    """A stored message."""

    seq: int
    subject: str
    headers: dict[str, str]
    data: bytes
    at_ns: int

    @property
    def size_bytes(self) -> int:
        return len(self.data) + sum(len(k) + len(v) + 4 for k, v in self.headers.items()) + 64


@dataclass(slots=True)
class Request:
    """An open pull request."""

    inbox: str
    send: Send
    left: int
    until_s: float


@dataclass(slots=True)
class Consumer:
    """A pull consumer; `pending` are deliveries that wait for their acknowledgement: seq -> (deadline, times)."""

    name: str
    stream: "Stream"
    config: JSON
    next_seq: int
    delivered: int = 0
    requests: deque[Request] = field(default_factory=deque)
    pending: dict[int, float] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)

    @property
    def is_explicit(self) -> bool:
        return bool(self.config.get("ack_policy") == "explicit")


@dataclass(slots=True)
class Stream:
    """One stream."""

    config: JSON
    created: str
    messages: dict[int, Message] = field(default_factory=dict)
    last_seq: int = 0
    last_id: str = ""
    size_bytes: int = 0
    ids: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)

    @property
    def first_seq(self) -> int:
        return next(iter(self.messages), self.last_seq + 1 if self.last_seq else 0)

    def remove(self, seq: int) -> None:
        message = self.messages.pop(seq, None)
        if message is not None:
            self.size_bytes -= message.size_bytes


class Server:
    """What outlives connections and processes."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.streams: dict[str, Stream] = {}
        self._lives = 0
        self._names = 0
        self.is_up = True
        self._verbs: dict[str, Callable[[Stream, JSON], JSON]] = {
            "INFO": self._info,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "PURGE": self._purge,
            "MSG": self._get,
        }

    @property
    def now_ns(self) -> int:
        return EPOCH_NS + int(self.loop.now_s * _NS)

    def handle(self, subject: str, reply: str, headers: dict[str, str], data: bytes, send: Send) -> None:
        """Take one message in."""
        if subject.startswith("$JS.ACK."):
            self._acknowledge(subject, data)
            if reply:
                send(reply, "", None, b"")
        elif subject.startswith("$JS.API.CONSUMER.MSG.NEXT."):
            self._pull(subject.split(".")[5:], reply, data, send)
        elif subject.startswith("$JS.API."):
            try:
                answer = self._call(subject.removeprefix("$JS.API."), orjson.loads(data) if data else {})
            except RefusedError as refused:
                answer = refused.answer
            send(reply, "", None, orjson.dumps(answer))
        else:
            self._publish(subject, reply, headers, data, send)

    def restart(self) -> None:
        """Come back as a new process: what was only in memory is gone."""
        for stream in self.streams.values():
            for name in [name for name, consumer in stream.consumers.items() if not consumer.is_explicit]:
                del stream.consumers[name]
            for consumer in stream.consumers.values():
                consumer.requests.clear()

    def forget_ids(self) -> None:
        """Forget which ids were stored lately."""
        for stream in self.streams.values():
            stream.ids.clear()

    def lose_tail(self, stream: Stream, count: int) -> None:
        """Lose the last messages, as a server that does not sync in a power cut: sequences are used again."""
        for seq in list(stream.messages)[len(stream.messages) - count :]:
            stream.remove(seq)
        stream.last_seq = next(reversed(stream.messages), min(stream.last_seq - count, stream.last_seq))
        last = stream.messages.get(stream.last_seq)
        stream.last_id = last.headers.get("Nats-Msg-Id", "") if last else ""
        stream.ids = {}

    # Publishing

    def _publish(self, subject: str, reply: str, headers: dict[str, str], data: bytes, send: Send) -> None:
        stream = self._stream_of(subject)
        if stream is None:
            if reply:
                send(reply, "", {"Status": "503"}, b"")
            return
        try:
            answer = self._store(stream, subject, headers, data)
        except RefusedError as refused:
            answer = {**refused.answer, "stream": stream.config["name"], "seq": 0}
        if reply:
            send(reply, "", None, orjson.dumps(answer))
        self._deliver(stream)

    def _stream_of(self, subject: str) -> Stream | None:
        for stream in self.streams.values():
            for pattern in stream.config["subjects"]:
                if pattern == subject or (pattern.endswith(".>") and subject.startswith(pattern[:-1])):
                    return stream
        return None

    def _store(self, stream: Stream, subject: str, headers: dict[str, str], data: bytes) -> JSON:
        self._expire(stream)
        name = stream.config["name"]
        if stream.config.get("sealed"):
            raise RefusedError(400, 10109, "invalid operation on sealed stream")
        expected = headers.get("Nats-Expected-Last-Sequence")
        if expected is not None and int(expected) != stream.last_seq:
            raise RefusedError(*_WRONG_SEQUENCE)
        expected_id = headers.get("Nats-Expected-Last-Msg-Id")
        if expected_id is not None and expected_id != stream.last_id:
            raise RefusedError(400, 10070, f"wrong last msg ID: {stream.last_id}")
        message_id = headers.get("Nats-Msg-Id")
        if message_id in stream.ids:
            return {"stream": name, "seq": stream.ids[message_id], "duplicate": True}
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        standing = [m for m in stream.messages.values() if m.subject == subject] if expected is not None else []
        if expected is not None and int(expected) != (standing[-1].seq if standing else 0):
            raise RefusedError(*_WRONG_SEQUENCE)
        message = Message(stream.last_seq + 1, subject, dict(headers), data, self.now_ns)
        if 0 < stream.config["max_bytes"] < stream.size_bytes + message.size_bytes:
            raise RefusedError(503, 10077, "maximum bytes exceeded")
        if stream.config.get("max_msgs_per_subject") == 1:
            for old in standing or [m for m in stream.messages.values() if m.subject == subject]:
                stream.remove(old.seq)
        stream.last_seq = message.seq
        stream.messages[message.seq] = message
        stream.size_bytes += message.size_bytes
        stream.last_id = message_id or ""
        if message_id:
            stream.ids[message_id] = message.seq
        return {"stream": name, "seq": message.seq}

    def _expire(self, stream: Stream) -> None:
        age_ns = stream.config.get("max_age") or 0
        if age_ns:
            for seq in [m.seq for m in stream.messages.values() if m.at_ns + age_ns <= self.now_ns]:
                stream.remove(seq)

    # The API

    def _call(self, verb: str, body: JSON) -> JSON:
        group, action, *rest = verb.split(".", 2)
        if group == "CONSUMER":
            return self._call_consumer(action, rest[0].split("."), body)
        name = (rest[0] if rest else "").removeprefix("GET.")
        if action in ("NAMES", "LIST"):
            return self._list(action, body)
        if action == "CREATE":
            return self._create(name, body)
        stream = self.streams.get(name)
        if stream is None:
            raise RefusedError(404, 10059, "stream not found")
        self._expire(stream)
        return self._verbs[action](stream, body)

    def _list(self, action: str, body: JSON) -> JSON:
        names = sorted(self._named(body))
        found = names if action == "NAMES" else [self._info(self.streams[name], {}) for name in names]
        return {"streams": found, "total": len(found), "offset": 0}

    def _delete(self, stream: Stream, _body: JSON) -> JSON:
        del self.streams[stream.config["name"]]
        for consumer in tuple(stream.consumers.values()):
            self.end_consumer(consumer)
        return {"success": True}

    def _named(self, body: JSON) -> list[str]:
        wanted = body.get("subject")
        prefix = wanted[:-1] if wanted and wanted.endswith(">") else wanted
        return [
            name
            for name, stream in self.streams.items()
            if not prefix or any(subject.startswith(prefix) for subject in stream.config["subjects"])
        ]

    def _create(self, name: str, config: JSON) -> JSON:
        found = self.streams.get(name)
        if found is not None:
            if found.config == config:
                return self._info(found, {})
            raise RefusedError(400, 10058, "stream name already in use with a different configuration")
        self._lives += 1
        self.streams[name] = Stream(dict(config), f"life {self._lives} of a stream")
        return self._info(self.streams[name], {})

    def _update(self, stream: Stream, config: JSON) -> JSON:
        if stream.config.get("sealed") and not config.get("sealed"):
            raise RefusedError(500, 10052, "stream configuration update can not unseal a sealed stream")
        stream.config = dict(config)
        return self._info(stream, {})

    def _info(self, stream: Stream, body: JSON) -> JSON:
        state = {
            "first_seq": stream.first_seq,
            "last_seq": stream.last_seq,
            "bytes": stream.size_bytes,
            "messages": len(stream.messages),
        }
        if body.get("subjects_filter"):
            prefix = body["subjects_filter"].removesuffix(">")
            subjects = [m.subject for m in stream.messages.values() if m.subject.startswith(prefix)]
            state["subjects"] = {subject: subjects.count(subject) for subject in subjects}
        return {"config": {"sealed": False, **stream.config}, "created": stream.created, "state": state}

    def _purge(self, stream: Stream, body: JSON) -> JSON:
        if stream.config.get("sealed"):
            raise RefusedError(400, 10109, "invalid operation on sealed stream")
        gone = [seq for seq in stream.messages if seq < body.get("seq", stream.last_seq + 1)]
        for seq in gone:
            stream.remove(seq)
        return {"success": True, "purged": len(gone)}

    def _get(self, stream: Stream, body: JSON) -> JSON:
        if "next_by_subj" in body:
            message = next((m for m in stream.messages.values() if m.seq >= body["seq"]), None)
        elif "seq" in body:
            message = stream.messages.get(body["seq"])
        else:
            subject = body["last_by_subj"]
            message = next((m for m in reversed(stream.messages.values()) if m.subject == subject), None)
        if message is None:
            raise RefusedError(404, 10037, "no message found")
        lines = [f"{name}: {value}" for name, value in message.headers.items()]
        raw = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()
        found = {
            "subject": message.subject,
            "seq": message.seq,
            "hdrs": base64.b64encode(raw).decode(),
            "data": base64.b64encode(message.data).decode(),
        }
        return {"message": found}

    # Consumers

    def _call_consumer(self, action: str, names: list[str], body: JSON) -> JSON:
        stream = self.streams.get(names[0])
        if stream is None:
            raise RefusedError(404, 10059, "stream not found")
        if action in ("CREATE", "DURABLE"):
            return self._create_consumer(stream, names[1:], body["config"])
        consumer = stream.consumers.get(names[1])
        if consumer is None:
            raise RefusedError(404, 10014, "consumer not found")
        if action == "DELETE":
            self.end_consumer(consumer)
            return {"success": True}
        assert action == "INFO", action
        return {
            "name": consumer.name,
            "delivered": {"consumer_seq": consumer.delivered, "stream_seq": consumer.next_seq - 1},
            "ack_floor": {"stream_seq": min(consumer.pending, default=consumer.next_seq) - 1},
            "num_ack_pending": len(consumer.pending),
            "num_pending": max(0, stream.last_seq - consumer.next_seq + 1),
        }

    def _create_consumer(self, stream: Stream, names: list[str], config: JSON) -> JSON:
        self._names += 1
        name = names[0] if names else f"c{self._names}"
        if name not in stream.consumers:
            stream.consumers[name] = Consumer(name, stream, config, max(1, config.get("opt_start_seq", 1)))
        return {"name": name}

    def end_consumer(self, consumer: Consumer) -> None:
        """Delete a consumer; its open requests are told."""
        consumer.stream.consumers.pop(consumer.name, None)
        for request in consumer.requests:
            request.send(request.inbox, "", {"Status": "409", "Description": "Consumer Deleted"}, b"")
        consumer.requests.clear()

    def _pull(self, names: list[str], reply: str, data: bytes, send: Send) -> None:
        stream = self.streams.get(names[0])
        consumer = stream.consumers.get(names[1]) if stream else None
        if stream is None or consumer is None:
            send(reply, "", {"Status": "503"}, b"")
            return
        body = orjson.loads(data)
        expires_s = body["expires"] / _NS
        request = Request(reply, send, body.get("batch", 1), self.loop.now_s + expires_s)
        consumer.requests.append(request)
        self.loop.call_at(request.until_s, self._end_request, consumer, request)
        self._deliver(stream)

    def _end_request(self, consumer: Consumer, request: Request) -> None:
        if request in consumer.requests:
            consumer.requests.remove(request)
            left = {"Nats-Pending-Messages": str(request.left)}
            request.send(request.inbox, "", {"Status": "408", "Description": "Request Timeout", **left}, b"")

    def _deliver(self, stream: Stream) -> None:
        for consumer in tuple(stream.consumers.values()):
            consumer.requests = deque(request for request in consumer.requests if request.send.is_open)
            while consumer.requests and (message := self._next(consumer)) is not None:
                request = consumer.requests[0]
                request.left -= 1
                if not request.left:
                    consumer.requests.popleft()
                consumer.delivered += 1
                times = consumer.times[message.seq] = consumer.times.get(message.seq, 0) + 1
                tokens = (
                    stream.config["name"],
                    consumer.name,
                    times,
                    message.seq,
                    consumer.delivered,
                    message.at_ns,
                    0,
                )
                reply = "$JS.ACK." + ".".join(map(str, tokens))
                if consumer.is_explicit:
                    self._hold(consumer, message.seq, consumer.config["ack_wait"] / _NS)
                request.send(f"{request.inbox}\0{message.subject}", reply, message.headers, message.data)

    def _next(self, consumer: Consumer) -> Message | None:
        messages = consumer.stream.messages
        due = [seq for seq, until_s in consumer.pending.items() if until_s <= self.loop.now_s]
        for seq in sorted(due):
            if seq in messages:
                return messages[seq]
            del consumer.pending[seq]
        consumer.next_seq = max(consumer.next_seq, consumer.stream.first_seq)
        while consumer.next_seq <= consumer.stream.last_seq:
            consumer.next_seq += 1
            if consumer.next_seq - 1 in messages:
                return messages[consumer.next_seq - 1]
        return None

    def _hold(self, consumer: Consumer, seq: int, hold_s: float) -> None:
        consumer.pending[seq] = self.loop.now_s + hold_s
        self.loop.call_later(hold_s + 0.001, self._deliver, consumer.stream)

    def _acknowledge(self, subject: str, data: bytes) -> None:
        name, consumer_name, _, seq, *_ = subject.removeprefix("$JS.ACK.").split(".")
        stream = self.streams.get(name)
        consumer = stream.consumers.get(consumer_name) if stream else None
        if consumer is None or int(seq) not in consumer.pending:
            return
        if data.startswith(b"-NAK"):
            delay = orjson.loads(data[5:])["delay"] / _NS if data[5:] else 0.0
            self._hold(consumer, int(seq), delay)
        elif data == b"+WPI":
            self._hold(consumer, int(seq), consumer.config["ack_wait"] / _NS)
        else:
            del consumer.pending[int(seq)]
