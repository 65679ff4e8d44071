"""Signatures that are checked by a public key. `cryptography` is imported only where a way in needs it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

Digest = Literal["sha1", "sha256"]


def fault_of_key(text: str, what: str) -> str | None:
    """What is wrong with a public key as people paste it; None where it is one."""
    try:
        load_key(text)
    except ValueError:
        return f"{what} is no public key: paste the base64 text that the provider shows"
    return None


@lru_cache(maxsize=16)
def load_key(text: str) -> Any:
    """A public key from PEM, or from base64 of its DER form (SubjectPublicKeyInfo). Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    bare = "".join(line for line in text.split("\n") if not line.startswith("-----"))
    try:
        key = load_der_public_key(base64.b64decode("".join(bare.split()), validate=True))
    except (binascii.Error, UnsupportedAlgorithm):
        raise ValueError("no public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("neither an elliptic curve nor RSA")
    return key


def verified(keys: Sequence[str], signature: str, before: bytes, data: bytes | bytearray, digest: Digest) -> bool:
    """Whether a signature in base64 is that of `before` and `data` by one of the keys, each as `load_key` takes it."""
    return any(verified_by(load_key(key), signature, before, data, digest) for key in keys)


def verified_by(key: Any, signature: str, before: bytes, data: bytes | bytearray, digest: Digest) -> bool:
    """The same by one key that is loaded: ECDSA, or RSA with the padding of PKCS #1 v1.5."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    try:
        given = base64.b64decode("".join(signature.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    algorithm = hashes.SHA256() if digest == "sha256" else hashes.SHA1()
    # Hashed in two steps: the body may be large, and is not copied.
    summed = hashes.Hash(algorithm)
    summed.update(before)
    summed.update(data)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(given, summed.finalize(), ec.ECDSA(Prehashed(algorithm)))
        else:
            key.verify(given, summed.finalize(), padding.PKCS1v15(), Prehashed(algorithm))
    except InvalidSignature:
        return False
    return True
