import base64
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fluxforge.domain.errors import ConfigurationError
from fluxforge_collector.coinbase_source.signing import LIFE_S, Signer, signer_of

NAME = "organizations/1-2/apiKeys/3-4"
NOW_S = 1_786_309_548
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def pem(key: Key, kind: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption()).decode()


def bare(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    header, claims, signature = token.split(".")
    return (
        orjson.loads(decoded(header)),
        orjson.loads(decoded(claims)),
        decoded(signature),
        f"{header}.{claims}".encode(),
    )


@pytest.mark.parametrize("kind", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("line_end", ["\n", "\\n"])
def test_an_ec_key_signs_what_its_public_key_verifies(kind: PrivateFormat, line_end: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = Signer(NAME, pem(key, kind).replace("\n", line_end))
    header, claims, signature, signed = parts(signer.token(NOW_S))
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    key.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    assert (header["alg"], header["kid"], header["typ"]) == ("ES256", NAME, "JWT")
    assert claims == {"iss": "cdp", "sub": NAME, "nbf": NOW_S, "exp": NOW_S + LIFE_S}


def test_each_half_of_a_signature_keeps_its_zeros() -> None:
    signer = Signer(NAME, pem(ec.generate_private_key(ec.SECP256R1())))
    signatures = [parts(signer.token(NOW_S))[2] for _ in range(2000)]  # one in 128 has a half that begins with a zero
    assert {len(signature) for signature in signatures} == {64}


def test_an_ed25519_key_signs_in_each_form_it_is_given_out_in() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    forms = [pem(key), base64.b64encode(bare(key) + public).decode(), base64.b64encode(bare(key)).decode()]
    for form in forms:
        header, _, signature, signed = parts(Signer(NAME, form).token(NOW_S))
        key.public_key().verify(signature, signed)
        assert header["alg"] == "EdDSA"


def test_a_signature_is_of_its_own_claims() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    _, _, signature, signed = parts(Signer(NAME, pem(key)).token(NOW_S))
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, signed + b"x")


def test_no_two_tokens_are_the_same() -> None:
    signer = Signer(NAME, pem(ed25519.Ed25519PrivateKey.generate()))
    assert signer.token(NOW_S) != signer.token(NOW_S)


def test_without_credentials_nothing_is_signed() -> None:
    assert signer_of("", "") is None
    assert signer_of(NAME, pem(ed25519.Ed25519PrivateKey.generate())) is not None


@pytest.mark.parametrize(
    ("name", "secret", "message"),
    [
        (NAME, "", "coinbase.api_secret is missing: expected both api_key and api_secret, or neither"),
        ("", "c2VjcmV0", "coinbase.api_key is missing"),
        (NAME, "not a key!", "cannot be read as either"),
        (NAME, "c2VjcmV0", "was 6 bytes in base64"),
        (NAME, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "cannot be read as either"),
        (NAME, pem(ec.generate_private_key(ec.SECP384R1())), "was a key of another kind"),
        (NAME, pem(rsa.generate_private_key(65537, 2048)), "was a key of another kind"),
    ],
    ids=["no secret", "no name", "text", "short", "torn", "other curve", "rsa"],
)
def test_what_is_no_key_is_refused_without_showing_it(name: str, secret: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        signer_of(name, secret)
    assert message in str(refused.value)
    assert not secret or secret not in str(refused.value)
