"""Tokens: what signs a subscription with a key of the Coinbase Developer Platform. Pure but for the nonce's chance.

A key is an EC private key on P-256 as PEM (ES256), or an Ed25519 one as PEM or as base64 of its 32 or 64 bytes (EdDSA).
"""

import binascii
import secrets
from base64 import b64decode, urlsafe_b64encode
from typing import Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fluxforge.domain.errors import ConfigurationError

LIFE_S: Final = 120
"""The venue takes no token that lives longer."""
_SEED_BYTES: Final = 32
_KEY_BYTES: Final = frozenset({32, 64})
_HALF_BYTES: Final = 32
_WANTED: Final = "an EC P-256 private key as PEM, or an Ed25519 private key as PEM or base64"


class Signer:
    """Signs with one key. `name` is the key's, such as `organizations/.../apiKeys/...` or an id."""

    def __init__(self, name: str, secret: str) -> None:
        """Read the key.

        Raises:
            ConfigurationError: Not a key that Coinbase gives out. The message does not hold it.
        """
        self._name = name
        self._key = _key_of(secret)

    def token(self, at_s: int) -> str:
        """Return a token that is good from `at_s`, s UTC, for two minutes."""
        is_ec = isinstance(self._key, EllipticCurvePrivateKey)
        header = {
            "alg": "ES256" if is_ec else "EdDSA",
            "kid": self._name,
            "nonce": secrets.token_hex(16),
            "typ": "JWT",
        }
        claims = {"iss": "cdp", "sub": self._name, "nbf": at_s, "exp": at_s + LIFE_S}
        signed = b".".join(_text(orjson.dumps(part)) for part in (header, claims))
        return (signed + b"." + _text(self._signature(signed))).decode()

    def _signature(self, signed: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(signed)
        r, s = decode_dss_signature(self._key.sign(signed, ECDSA(SHA256())))
        return r.to_bytes(_HALF_BYTES) + s.to_bytes(_HALF_BYTES)


def signer_of(name: str, secret: str) -> Signer | None:
    """Return what signs with these credentials; None where none are given.

    Raises:
        ConfigurationError: One of the two without the other, or not a key that Coinbase gives out.
    """
    if not name and not secret:
        return None
    if not name or not secret:
        missing = "api_secret" if name else "api_key"
        raise ConfigurationError(f"coinbase.{missing} is missing: expected both api_key and api_secret, or neither")
    return Signer(name, secret)


def _key_of(secret: str) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    text = secret.strip().replace("\\n", "\n")  # keys are given out as JSON, whose line ends people copy as they stand
    try:
        if not text.startswith("-----BEGIN"):
            raw = b64decode(text, validate=True)
            if len(raw) not in _KEY_BYTES:
                raise ConfigurationError(f"coinbase.api_secret: expected {_WANTED}, was {len(raw)} bytes in base64")
            return Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
        key = load_pem_private_key(text.encode(), None)
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"coinbase.api_secret: expected {_WANTED}, cannot be read as either") from error
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    raise ConfigurationError(f"coinbase.api_secret: expected {_WANTED}, was a key of another kind")


def _text(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
