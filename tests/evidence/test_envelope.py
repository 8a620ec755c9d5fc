"""Records are DSSE envelopes in the form of RFC 8785; whatever else is given is refused."""

from __future__ import annotations

import base64
import json

import pytest
import rfc8785
from securesystemslib.dsse import Envelope

from efface.errors import EffaceError
from efface.evidence.envelope import PAYLOAD_TYPE, SignatureError, open_envelope, read_envelope
from efface.evidence.keys import make_signing_key, parse_public_key, public_pem, read_signing_key
from efface.evidence.record import make_record, verify_record
from efface.evidence.statement import EARLIER_PREDICATE_TYPE
from support.messages import assert_names


@pytest.fixture
def record(run, work, signing_key):
    make_record(run, work / "r.json", signing_key=signing_key, key_file=work / "r.key")
    return work / "r.json"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # numbers of RFC 8785, appendix B, and the example of section 3.2.2
        (
            [0.0, -0.0, 5e-324, 1.7976931348623157e308, 9007199254740991],
            "[0,0,5e-324,1.7976931348623157e+308,9007199254740991]",
        ),
        (
            [295147905179352830000.0, 1e21, 9.999999999999997e22, 1e23],
            "[295147905179352830000,1e+21,9.999999999999997e+22,1e+23]",
        ),
        ([333333333.3333332, 1e-6, 1e-7, 0.001, 4.5], "[333333333.3333332,0.000001,1e-7,0.001,4.5]"),
        ({"\u20ac": 1, "\r": 2, "1": 3, "\U0001f600": 4, "\ufb33": 5}, '{"\\r":2,"1":3,"€":1,"😀":4,"\ufb33":5}'),
        ('\u20ac$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
    ],
)
def test_the_library_writes_rfc_8785(value, text):
    assert rfc8785.dumps(value).decode() == text


def test_the_signature_is_that_of_the_specification(record, signing_key):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = record.read_bytes()
    envelope = json.loads(content)
    assert content == rfc8785.dumps(envelope) + b"\n"
    payload = base64.b64decode(envelope["payload"])
    assert payload == rfc8785.dumps(json.loads(payload))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    public = load_pem_private_key(signing_key.read_bytes(), None).public_key()
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


def change(record, edit):
    envelope = json.loads(record.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    edit(statement)
    envelope["payload"] = base64.b64encode(rfc8785.dumps(statement)).decode()
    record.write_bytes(rfc8785.dumps(envelope))


def test_a_changed_record_and_another_key_are_found(record, tmp_path):
    make_signing_key(tmp_path / "other.pem")
    other = public_pem(read_signing_key(tmp_path / "other.pem").public_key)
    (tmp_path / "other.pub").write_text(other)
    with pytest.raises(SignatureError) as raised:
        verify_record(record, public_key=tmp_path / "other.pub")
    assert_names(str(raised.value), str(record), "not signed by the key")
    change(record, lambda statement: statement["predicate"].update(seed=4))
    with pytest.raises(SignatureError):
        verify_record(record)


def test_a_record_of_an_earlier_version_is_read(record, signing_key, tmp_path):
    values = json.loads(base64.b64decode(json.loads(record.read_text())["payload"]))
    values["predicateType"] = EARLIER_PREDICATE_TYPE
    for name in ("verdict", "judge", "embedder"):
        del values["predicate"]["measured"][name]
    payload = rfc8785.dumps(values)
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(read_signing_key(signing_key))
    statement, _ = open_envelope(tmp_path / "old.json", rfc8785.dumps(envelope.to_dict()))
    assert statement.predicate_type == EARLIER_PREDICATE_TYPE
    assert statement.predicate.measured.verdict is None


def test_the_key_that_signed_can_be_given(record, signing_key, tmp_path):
    (tmp_path / "pub").write_text(public_pem(read_signing_key(signing_key).public_key))
    assert verify_record(record, public_key=tmp_path / "pub").is_key_given
    assert not verify_record(record).is_key_given


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Expecting value"),
        (b"[]", "object"),
        (b'{"payload":"e30=","payload":"e30=","payloadType":"x","signatures":[]}', "twice"),
        (b'{"payload":"e30="}', "payloadType"),
        (b'{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}', "subject"),
        (b'{"payload":"!","payloadType":"x","signatures":7}', "record"),
        (b"[" * 100_000, "record"),
        (b'{"payload":NaN}', "NaN"),
        (b" " * (16 * 2**20 + 1), "16 MiB"),
    ],
)
def test_what_is_no_record(tmp_path, content, problem):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(EffaceError) as raised:
        verify_record(path)
    assert_names(str(raised.value), str(path), problem, "efface record make")


def test_another_form_of_the_same_payload_is_refused(record):
    envelope = json.loads(record.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    with pytest.raises(EffaceError) as raised:
        open_envelope(record, json.dumps(envelope).encode())
    assert_names(str(raised.value), "RFC 8785")
    assert read_envelope(record)


def test_other_keys_are_refused(record, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (pem, b"nothing"):
        with pytest.raises(EffaceError) as raised:
            parse_public_key(content, "x.pub")
        assert_names(str(raised.value), "x.pub", "efface record key")
