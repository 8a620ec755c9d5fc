"""`efface record`: what the user sees, and words that never appear."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest

from efface.commands.purge import purge
from efface.evidence import statement
from support.evidence import run, signing_key, work, write_run  # noqa: F401
from support.messages import assert_names
from support.run_fixtures import made  # noqa: F401

CLAIMS = re.compile(r"proof|prove[ns]|certif|erased|erasure|complian|guarantee", re.IGNORECASE)


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("EFFACE_SIGNING_KEY", raising=False)


def test_make_and_verify(run, work, efface, tmp_path):  # noqa: F811
    out = work / "records" / "4711.json"
    ran = efface("record", "make", str(run), "--out", str(out), "--request-id", "4711", "--done", "backups")
    assert ran.returncode == 0
    assert_names(ran.stderr, "made the signing key", str(tmp_path / "settings"), "efface record key")
    assert_names(ran.stdout, f"record: {out}", f"{out}.key", "[x] Note when backups", "[ ] Delete the texts")
    public = efface("record", "key")
    (tmp_path / "pub").write_text(public.stdout)
    check = ["record", "verify", str(out), "--public-key", str(tmp_path / "pub")]
    verified = efface(*check, "--key-file", f"{out}.key", "--request", str(work / "forget.jsonl"))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert_names(
        verified.stdout, "signature fits", "the given key", "request 4711", "texts fit", "[x] Note when backups"
    )
    assert_names(verified.stdout, statement.MEANING)
    assert "only the record names" in efface("record", "verify", str(out)).stdout
    assert json.loads(efface("record", "verify", str(out), "--json").stdout)["predicate"]["request"] == "4711"
    for said in (ran, public, verified):
        assert not CLAIMS.search(said.stdout + said.stderr)


def test_exit_codes(run, work, efface, tmp_path):  # noqa: F811
    out = work / "r.json"
    key = tmp_path / "mine.pem"
    assert efface("record", "key", "--signing-key", str(key)).returncode == 0
    make = ["record", "make", str(run), "--out", str(out), "--signing-key", str(key)]
    ran = efface(*make, "--done", "all")
    assert ran.returncode == 2
    assert_names(ran.stderr, "--done all", "backups")
    assert efface(*make).returncode == 0
    assert not (tmp_path / "settings").exists()
    (work / "other.jsonl").write_text('{"question": "x", "answer": "y"}\n')
    ran = efface("record", "verify", str(out), "--key-file", f"{out}.key", "--request", str(work / "other.jsonl"))
    assert ran.returncode == 1
    assert_names(ran.stderr, "other.jsonl", "does not have the texts")
    out.write_text(out.read_text().replace('"sig":"', '"sig":"AAAA'))
    ran = efface("record", "verify", str(out))
    assert ran.returncode == 1
    assert_names(ran.stderr, str(out), "changed")
    out.write_text("{}")
    assert efface("record", "verify", str(out)).returncode == 2


def no_run(root):
    shutil.rmtree(root)


def purged(root):
    purge(root)


def damaged_steps(root):
    (root / "metrics.jsonl").write_text('{"step": 1\n')


def out_exists(root):
    (root.parents[1] / "r.json").write_text("{}")


def out_cannot_be_written(root):
    (root.parents[1] / ".r.json.partial").mkdir()


@pytest.mark.parametrize("change", [no_run, purged, damaged_steps, out_exists, out_cannot_be_written])
def test_no_key_is_made_for_a_record_that_is_refused(run, work, efface, tmp_path, change):  # noqa: F811
    change(run)
    ran = efface("record", "make", str(run), "--out", str(work / "r.json"))
    assert ran.returncode == 2
    assert "made the signing key" not in ran.stderr
    assert not list((tmp_path / "settings").rglob("*.pem"))
    assert not (work / "r.json.key").exists()


def test_a_signing_key_that_is_not_there(run, work, efface, tmp_path, monkeypatch):  # noqa: F811
    place = tmp_path / "keys" / "mine.pem"
    monkeypatch.setenv("EFFACE_SIGNING_KEY", str(place))
    make = ["record", "make", str(run), "--out", str(work / "r.json")]
    ran = efface(*make)
    assert ran.returncode == 2
    assert_names(ran.stderr, str(place), f"efface record key --signing-key {place}")
    assert efface("record", "key", "--signing-key", str(place)).returncode == 0
    assert efface(*make).returncode == 0


@pytest.mark.parametrize("missing", ["rfc8785", "securesystemslib", "cryptography"])
def test_without_the_extra(run, work, efface, monkeypatch, missing):  # noqa: F811
    for name in [each for each in sys.modules if each.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    ran = efface("record", "make", str(run), "--out", str(work / "r.json"))
    assert ran.returncode == 2
    assert_names(ran.stderr, missing, "[record]")
