"""Options of the bus: where the servers are, how to sign in, and how large what we create may grow."""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self, TypedDict

from fluxforge.domain.errors import ConfigurationError

MAX_PAYLOAD: Final = 8_388_608
_INBOX: Final = "_INBOX"
_TOKEN: Final = re.compile("[A-Za-z0-9_-]+")
_CREDS_MARK: Final = "-----BEGIN NATS USER JWT-----"


class SignIn(TypedDict, total=False):
    """What the client signs in with, by nats-py's names."""

    user: str
    password: str
    nkeys_seed_str: str
    user_credentials: str


class _TlsSettings(Protocol):
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def cert_file(self) -> Path | None: ...
    @property
    def key_file(self) -> Path | None: ...


class _Secret(Protocol):
    def get_secret_value(self) -> str: ...


class _NatsSettings(Protocol):
    @property
    def servers(self) -> Sequence[str]: ...
    @property
    def user(self) -> str | None: ...
    @property
    def password(self) -> _Secret | None: ...
    @property
    def credentials_file(self) -> Path | None: ...
    @property
    def tls(self) -> _TlsSettings: ...
    @property
    def stream_replicas(self) -> int: ...
    @property
    def lane_max_bytes(self) -> int: ...
    @property
    def max_payload(self) -> int: ...
    @property
    def lease_ttl_seconds(self) -> int: ...
    @property
    def unsafe_durability(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class BusOptions:
    """How to reach the bus. `monitor_port` is where a server's monitoring answers, if it does."""

    servers: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    max_payload: int = MAX_PAYLOAD
    lane_max_bytes: int = 4 * 10**9
    stream_replicas: int = 1
    lease_ttl_s: int = 10
    unsafe_durability: bool = False
    monitor_port: int = 8222

    @classmethod
    def from_settings(cls, nats: _NatsSettings) -> Self:
        """Return the options of the group `nats` of the settings.

        Raises:
            ConfigurationError: It names no server.
        """
        if not nats.servers:
            raise ConfigurationError(
                "nats.servers is empty: name one, such as nats://127.0.0.1:4222; only `fluxforge up` brings its own"
            )
        return cls(
            servers=tuple(nats.servers),
            user=nats.user,
            password=nats.password.get_secret_value() if nats.password else None,
            credentials_file=nats.credentials_file,
            ca_file=nats.tls.ca_file,
            cert_file=nats.tls.cert_file,
            key_file=nats.tls.key_file,
            max_payload=nats.max_payload,
            lane_max_bytes=nats.lane_max_bytes,
            stream_replicas=nats.stream_replicas,
            lease_ttl_s=nats.lease_ttl_seconds,
            unsafe_durability=nats.unsafe_durability,
        )

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, or None where no TLS file is configured."""
        if self.ca_file is None and self.cert_file is None:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:
            raise ConfigurationError(f"nats.tls: cannot use the configured files: {error}") from error
        return context

    def sign_in(self) -> SignIn:
        """Return what the client signs in with: nothing, the configured user, or what the file says.

        The file holds `user:password`, an nkey seed, or is a `.creds` file.
        """
        if self.user is not None and self.password is not None:
            return {"user": self.user, "password": self.password}
        if self.credentials_file is None:
            return {}
        try:
            text = self.credentials_file.read_text().strip()
        except OSError as error:
            raise ConfigurationError(f"nats.credentials_file cannot be read: {error}") from error
        if _CREDS_MARK in text:
            return {"user_credentials": str(self.credentials_file)}
        if text.startswith("SU") and ":" not in text:
            return {"nkeys_seed_str": text}
        user, colon, password = text.partition(":")
        if not colon:
            raise ConfigurationError(
                f"nats.credentials_file {self.credentials_file}: expected user:password, an nkey seed or a .creds file"
            )
        return {"user": user, "password": password}


def inbox_prefix(sign_in: SignIn) -> str:
    """Return where answers to a client go: a room of its user's own, which the server can close to all others.

    The default `_INBOX` where the user's name is not known or could not stand in a subject.
    """
    user = sign_in.get("user", "")
    return f"{_INBOX}_{user}" if _TOKEN.fullmatch(user) else _INBOX
