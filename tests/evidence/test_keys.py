"""Keys are in files that only their owner can read, and never in a run's folder."""

from __future__ import annotations

import os

import pytest

from efface.errors import EffaceError
from efface.evidence.keys import (
    make_signing_key,
    new_text_key,
    public_pem,
    read_signing_key,
    read_text_key,
    write_text_key,
)
from support.messages import assert_names


def refused(call, *names):
    with pytest.raises(EffaceError) as raised:
        call()
    assert_names(str(raised.value), *names)


def test_keys_are_private_and_random(tmp_path):
    earlier = os.umask(0)
    try:
        signer = make_signing_key(tmp_path / "new" / "signing.pem")
        write_text_key(tmp_path / "text.key", key := new_text_key())
    finally:
        os.umask(earlier)
    for path in (tmp_path / "new" / "signing.pem", tmp_path / "text.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert read_signing_key(tmp_path / "new" / "signing.pem").public_key == signer.public_key
    assert public_pem(signer.public_key).startswith("-----BEGIN PUBLIC KEY-----")
    assert read_text_key(tmp_path / "text.key") == key
    assert len(key) == 32
    assert new_text_key() != key


def test_no_key_is_replaced_or_in_a_run(tmp_path):
    run = tmp_path / "run"
    (run / "keys").mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    (tmp_path / "link").symlink_to(run)
    for path in (run / "k", run / "keys" / "k", tmp_path / "link" / "k"):
        refused(lambda path=path: write_text_key(path, b"x"), str(path), "folder of a run", "elsewhere")
        assert not path.exists()
    make_signing_key(tmp_path / "k")
    before = (tmp_path / "k").read_bytes()
    refused(lambda: make_signing_key(tmp_path / "k"), "exists already", "another file")
    assert (tmp_path / "k").read_bytes() == before


def test_what_is_no_key(tmp_path):
    path = tmp_path / "k"
    refused(lambda: read_text_key(path), str(path), "no key of the texts")
    refused(lambda: read_signing_key(path), str(path), "no signing key", f"efface record key --signing-key {path}")
    for content in (b"", b"zz", b"00" * 31, b"\xff", b"0" * 100_000):
        path.write_bytes(content)
        path.chmod(0o600)
        refused(lambda: read_text_key(path), str(path), "give the file")
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    refused(lambda: read_signing_key(path), str(path), "efface record key")
    path.chmod(0o640)
    refused(lambda: read_signing_key(path), str(path), "chmod 600")


def test_a_key_of_another_kind(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(SECP256R1())
    (tmp_path / "k").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "k").chmod(0o600)
    refused(lambda: read_signing_key(tmp_path / "k"), "Ed25519", "efface record key")
