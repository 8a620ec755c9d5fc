"""A statement in a signed DSSE envelope, both in the one form that RFC 8785 allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from efface.errors import EffaceError, first_line
from efface.evidence.keys import parse_public_key
from efface.evidence.statement import Statement
from efface.files.safe_read import read_bytes

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAX_FILE = 16 * 2**20


class SignatureError(EffaceError):
    """A record is not what was signed, or was signed by another key."""


def seal(statement: Statement, signer: CryptoSigner) -> bytes:
    """Sign a statement.

    Args:
        statement: What the record says.
        signer: The signing key.

    Returns:
        The content of a record's file.
    """
    import rfc8785
    from securesystemslib.dsse import Envelope

    payload = rfc8785.dumps(statement.model_dump(mode="json", by_alias=True))
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return rfc8785.dumps(envelope.to_dict()) + b"\n"


def read_envelope(path: Path) -> bytes:
    """The content of a record's file.

    Raises:
        EffaceError: It cannot be read or is too large.
    """
    try:
        return read_bytes(path, _MAX_FILE, "give a file of efface record make")
    except OSError as error:
        raise EffaceError(f"cannot read {path}: {error.strerror}; give a file of efface record make") from error


def open_envelope(path: Path, content: bytes, key: SSlibKey | None = None) -> tuple[Statement, SSlibKey]:
    """Check the signature of a record, and read it.

    Args:
        path: Its file, for messages.
        content: What `read_envelope` returned.
        key: The public key that must have signed it; None for the one that the record itself has.

    Returns:
        The statement, and the key that signed it.

    Raises:
        SignatureError: The signature does not fit.
        EffaceError: It is no record.
    """
    import rfc8785
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    try:
        envelope = Envelope.from_dict(_object(content))
        values = _object(envelope.payload)
        statement = Statement.model_validate(values)
        is_canonical = rfc8785.dumps(values) == envelope.payload
    except ValidationError as error:
        problem = error.errors()[0]
        raise _no_record(path, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    except Exception as error:  # the library raises its own, and those of Python, for foreign content
        raise _no_record(path, first_line(error)) from error
    if envelope.payload_type != PAYLOAD_TYPE or not is_canonical:
        raise _no_record(path, f"its payload is not {PAYLOAD_TYPE} in the form of RFC 8785")
    key = key or parse_public_key(statement.predicate.signer.public_key.encode(), str(path))
    try:
        envelope.verify([key], 1)
    except VerificationError as error:
        raise SignatureError(f"{path} was changed, or was not signed by the key {key.keyid[:16]}") from error
    return statement, key


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object in which no key is given twice."""
    values = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given twice")
    return values


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _no_record(path: Path, problem: str) -> EffaceError:
    return EffaceError(f"{path} is not a record of efface ({problem}); give a file of efface record make")
