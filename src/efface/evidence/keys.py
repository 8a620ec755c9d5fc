"""Keys in files of their own: one to sign records, and one per record for the digest of its texts."""

from __future__ import annotations

import os
import secrets
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import EffaceError
from efface.files.folders import MANIFEST
from efface.files.safe_read import open_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import CryptoSigner, SSlibKey

_KEY_BYTES = 32
_MAX_FILE = 64 * 1024


def default_signing_key() -> Path:
    """Where the signing key of this user is, unless a command names another place."""
    import platformdirs

    return platformdirs.user_config_path("efface", appauthor=False) / "signing-key.pem"


def read_signing_key(path: Path) -> CryptoSigner:
    """Read an Ed25519 key, in PEM (PKCS 8) without a password.

    Raises:
        EffaceError: The file is missing or cannot be read, others can read it, or it has no such key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    make = f"make it: efface record key --signing-key {shlex.quote(str(path))}"
    content = _read_secret(path, "signing key", if_missing=make)
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise EffaceError(
            f"{path} has no private key in PEM without a password; make one with efface record key"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EffaceError(f"{path} is not an Ed25519 key; make one with efface record key")
    return CryptoSigner(key)


def make_signing_key(path: Path) -> CryptoSigner:
    """Make a signing key, in a new file that only its owner can read.

    Raises:
        EffaceError: The file exists, is in a run's folder or cannot be written.
    """
    signer = new_signing_key()
    write_signing_key(path, signer)
    return signer


def new_signing_key() -> CryptoSigner:
    """A random Ed25519 key, which is in no file yet."""
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner.generate_ed25519()


def write_signing_key(path: Path, signer: CryptoSigner) -> None:
    """Write a signing key to a new file that only its owner can read.

    Args:
        path: The file. Missing parent folders are created.
        signer: As `new_signing_key` returns it.

    Raises:
        EffaceError: The file exists, is in a run's folder or cannot be written.
    """
    _write_secret(path, signer.private_bytes)


def public_pem(key: SSlibKey) -> str:
    """The public part of a signing key, in PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def parse_public_key(pem: bytes, where: str) -> SSlibKey:
    """Read the public part of an Ed25519 key.

    Args:
        pem: The key in PEM.
        where: The file that it is from, for messages.

    Raises:
        EffaceError: It is no such key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        key: Ed25519PublicKey | object = load_pem_public_key(pem)
    except ValueError as error:
        raise EffaceError(f"{where} has no public key in PEM; give what efface record key prints") from error
    if not isinstance(key, Ed25519PublicKey):
        raise EffaceError(f"{where} is not an Ed25519 key; give what efface record key prints")
    return SSlibKey.from_crypto(key)


def read_text_key(path: Path) -> bytes:
    """Read the key of a record's texts.

    Raises:
        EffaceError: The file cannot be read, others can read it, or it has no such key.
    """
    content = _read_secret(path, "key of the texts")
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError as error:
        raise EffaceError(f"{path} is not a key of efface record make; give the file that it wrote") from error
    if len(key) != _KEY_BYTES:
        raise EffaceError(
            f"{path} is not a key of efface record make ({_KEY_BYTES} bytes); give the file that it wrote"
        )
    return key


def new_text_key() -> bytes:
    """Random bytes for the digest of one record's texts."""
    return secrets.token_bytes(_KEY_BYTES)


def write_text_key(path: Path, key: bytes) -> None:
    """Write the key of a record's texts to a new file that only its owner can read.

    Args:
        path: The file. Missing parent folders are created.
        key: As `new_text_key` returns it.

    Raises:
        EffaceError: The file exists, is in a run's folder or cannot be written.
    """
    _write_secret(path, key.hex().encode() + b"\n")


def check_outside_runs(path: Path) -> None:
    """Refuse a place for a key in a run's folder, which is copied and published.

    Raises:
        EffaceError: It is in one.
    """
    for folder in path.expanduser().resolve().parents:
        if (folder / MANIFEST).is_file():
            raise EffaceError(
                f"{path} is in the folder of a run, {folder}; keep keys elsewhere (--key-file, --signing-key)"
            )


def _write_secret(path: Path, content: bytes) -> None:
    check_outside_runs(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise EffaceError(f"{path} exists already; a key is never replaced, so give another file") from error
    except OSError as error:
        raise EffaceError(f"cannot write {path}: {error.strerror}; give another file") from error


def _read_secret(path: Path, what: str, *, if_missing: str = "give the file of one") -> bytes:
    check_outside_runs(path)
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE + 1)
    except FileNotFoundError as error:
        raise EffaceError(f"there is no {what} {path}; {if_missing}") from error
    except OSError as error:
        raise EffaceError(f"cannot read the {what} {path}: {error.strerror}; give the file of one") from error
    if os.name == "posix" and mode & 0o077:
        raise EffaceError(f"others can read the {what} {path}; run: chmod 600 {path}")
    if not 0 < len(content) <= _MAX_FILE:
        raise EffaceError(f"{path} is not a {what}; give the file of one")
    return content
