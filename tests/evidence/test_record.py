"""A record says what was done about a request, and nothing about its texts and the people."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import socket

import pytest

from efface.errors import EffaceError
from efface.evidence.keys import read_signing_key
from efface.evidence.record import make_record, verify_record
from efface.evidence.statement import ACTIONS
from efface.files.sums import file_sum
from support.messages import assert_names

SECRET, NAME = "Zanzibar", "Grace Hopper"


@pytest.fixture
def make(run, work, signing_key):
    """Make a record of the run, or of another folder."""

    def call(folder=run, name="record", **options):
        out = work / f"{name}.json"
        make_record(folder, out, signing_key=signing_key, key_file=work / f"{name}.key", **options)
        return out

    return call


def payload(path):
    return base64.b64decode(json.loads(path.read_text())["payload"])


def said(path):
    return json.loads(payload(path))["predicate"]


def test_what_is_in_it(make, run, work):
    out = make(request_id="4711", done=["backups"])
    statement = json.loads(payload(out))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": name, "digest": {"sha256": file_sum(run / "model" / name)}}
        for name in ("config.json", "model.safetensors")
    ]
    found = statement["predicate"]
    assert (found["request"], found["method"], found["seed"]) == ("4711", "me+gd", 3)
    assert (found["run_started"], found["run_finished"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z")
    assert found["record_made"][-1] == "Z"
    assert found["counts"] == {"forget_items": 3, "optimizer_steps": 2, "asked.forget": 2, "asked.retain": 2}
    assert found["model_before"]["files"] == {
        name: file_sum(work / "before" / name) for name in ("config.json", "model.safetensors")
    }
    assert found["settings"]["train.epochs"] == 5
    assert "private" not in found["settings"]
    assert found["versions"] == {"efface": "0.0.9", "commit": "c0ffee", "python": "3.11.1", "torch": "2.10.0"}
    assert (found["hardware"], found["precision"]) == ("cpu", "float32")
    assert (found["measured"]["before"]["model_utility"], found["measured"]["after"]["forget_efficacy"]) == (0.75, 0.5)
    assert found["measured"]["after"]["sets"]["forget"]["rouge"] == 0.5
    assert found["queue"] is None
    assert [each["action"] for each in found["open_actions"]] == list(ACTIONS)
    assert [each["action"] for each in found["open_actions"] if each["done"]] == ["backups"]


def test_what_is_not_in_it(make, run, work, signing_key, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "graces-laptop")
    monkeypatch.setattr(platform, "node", socket.gethostname)
    out = make()
    text = payload(out).decode()
    hidden = [SECRET, "Where is", NAME, "Grace", "/home", "forget.jsonl", str(work), socket.gethostname(), "/embedder"]
    assert not [each for each in hidden if each in text]
    texts = (work / "forget.jsonl").read_text().splitlines()
    texts += [value for line in texts for value in json.loads(line).values()]
    plain = [hashlib.sha256(each.encode()).hexdigest() for each in texts] + [file_sum(work / "forget.jsonl")]
    assert not [each for each in plain if each in text]
    assert not [path for path in run.rglob("*") if "key" in path.name]
    for secret in ((work / "record.key").read_text().strip(), *signing_key.read_text().splitlines()[1:2]):
        assert secret not in out.read_text() + text


def test_the_texts_are_those_of_the_request(make, work):
    out = make()
    check = {"key_file": work / "record.key", "request": str(work / "forget.jsonl")}
    assert verify_record(out, **check).texts_fit is True
    lines = (work / "forget.jsonl").read_text().splitlines(keepends=True)
    reordered, changed = work / "reordered.jsonl", work / "changed.jsonl"
    reordered.write_text("".join(reversed(lines)))
    assert verify_record(out, **{**check, "request": str(reordered)}).texts_fit is True
    for other in (lines[:2], [*lines, lines[0]], [lines[0].replace("0?", "9?"), *lines[1:]]):
        changed.write_text("".join(other))
        assert verify_record(out, **{**check, "request": str(changed)}).texts_fit is False


def test_the_key_of_the_texts_can_be_reused_and_is_needed(make, work):
    first = said(make())["texts"]["root"]
    other = said(make(name="other"))["texts"]["root"]
    assert first != other
    with pytest.raises(EffaceError) as raised:
        verify_record(work / "record.json", key_file=work / "other.key", request=str(work / "forget.jsonl"))
    assert_names(str(raised.value), "other.key", "not the key of this record")
    (work / "record.json").unlink()
    assert said(make())["texts"]["root"] == first
    with pytest.raises(EffaceError) as raised:
        verify_record(work / "record.json", key_file=work / "record.key")
    assert_names(str(raised.value), "--key-file", "--request")


def test_records_of_a_queue_are_tied_to_each_other(make, write_run, work):
    queue = work / "queue"
    one = write_run(queue / "requests" / "01", number=1)
    for name in ("config.yaml", "manifest.json"):
        (queue / name).write_text((one / name).read_text())
    text = (queue / "config.yaml").read_text()
    (queue / "config.yaml").write_text(text.replace("continual: null", "continual: {requests: [a.jsonl, b.jsonl]}"))
    first = make(queue, "first")
    write_run(queue / "requests" / "02", number=2, model=one / "model")
    for path in (one / "model").iterdir():
        path.unlink()  # as a queue does that keeps the last model
    (one / "model").rmdir()
    second = make(queue, "second", previous=first)
    assert said(first)["queue"] == {"number": 1, "previous": None}
    assert said(second)["queue"] == {"number": 2, "previous": file_sum(first)}
    assert said(second)["model_before"]["files"] == said(first)["model_after"]["files"]
    assert said(make(queue, "third"))["queue"] == {"number": 2, "previous": None}
    with pytest.raises(EffaceError) as raised:
        make(queue, "fourth", previous=second)
    assert_names(str(raised.value), "--previous", "second.json", "request before")


def test_a_purged_run_and_a_model_before_that_is_gone(make, run, work):
    from efface.commands.purge import purge

    manifest = run / "manifest.json"
    data = json.loads(manifest.read_text())["data"]
    purge(run)
    with pytest.raises(EffaceError) as raised:
        make()
    assert_names(str(raised.value), str(run), "purged", "before the purge")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"data": data}))  # as of a benchmark
    (work / "before" / "model.safetensors").write_text("others")
    found = said(make())
    assert [each["action"] for each in found["open_actions"] if each["done"]] == ["run-texts"]
    assert found["model_before"]["files"] is None
    assert len(found["model_before"]["sha256"]) == 64


def test_a_signing_key_is_made_with_a_record_and_not_without(run, work):
    place = work / "keys" / "signing.pem"

    def make():
        out, key = work / "r.json", work / "r.json.key"
        return make_record(run, out, signing_key=place, make_signing_key=True, key_file=key)

    (work / ".r.json.partial").mkdir()  # so that the record cannot be written
    with pytest.raises(EffaceError):
        make()
    assert not place.exists()
    assert not (work / "r.json.key").exists()
    (work / ".r.json.partial").rmdir()
    statement = make()
    assert read_signing_key(place).public_key.keyid == statement.predicate.signer.key_id
    (work / "r.json").unlink()
    assert make().predicate.signer == statement.predicate.signer


def test_what_no_record_is_made_of(make, run, work, tmp_path, signing_key):
    def refused(*names, folder=run, name="no", **options):
        with pytest.raises(EffaceError) as raised:
            make(folder, name, **options)
        assert_names(str(raised.value), *names)
        assert not (work / f"{name}.json").exists()
        assert not (work / f"{name}.key").exists()

    refused("no run", "finished run", folder=work)
    refused("in the folder of a run", "--key-file", name="runs/first/record")
    (run / "model" / "model.safetensors").write_text("others")
    refused("model.safetensors", "SHA-256")
    (run / "model" / "model.safetensors").write_text("new weights None")
    original = (work / "forget.jsonl").read_text()
    (work / "forget.jsonl").write_text(original + original.splitlines()[0])
    refused("forget.jsonl", "changed")
    (work / "forget.jsonl").unlink()
    refused("forget.jsonl")
    (work / "forget.jsonl").write_text(original)
    (run / "results.json").rename(run / "elsewhere.json")
    refused("not finished", "--resume")
    (run / "elsewhere.json").rename(run / "results.json")
    make()
    with pytest.raises(EffaceError) as raised:
        make()
    assert_names(str(raised.value), "record.json", "exists already")
    signing_key.chmod(0o644)
    refused("signing.pem", "chmod 600")
