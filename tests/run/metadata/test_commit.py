"""The commit in the manifest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import efface
from efface.run.metadata import commit as module
from efface.run.metadata.commit import source_commit


def test_the_commit_is_that_of_efface_itself(monkeypatch, tmp_path):
    root = Path(efface.__file__).parents[2]
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    commit = source_commit()
    assert commit is None or commit.removesuffix("-dirty") == found.stdout.strip()
    assert (commit is None) == (found.returncode != 0)
    monkeypatch.setattr(module.efface, "__file__", str(tmp_path / "site-packages" / "efface" / "__init__.py"))
    assert source_commit() is None  # installed from a wheel


def test_the_index_of_the_checkout_is_only_read(monkeypatch, tmp_path):
    source = tmp_path / "src" / "efface" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.write_text("old\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(module.efface, "__file__", str(source))
    os.utime(source, (1, 1))  # what git remembers of the file is out of date
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    head = source_commit()
    assert head is not None
    assert len(head) == 40
    source.write_text("new\n")
    assert source_commit() == f"{head}-dirty"
    assert index.read_bytes() == before
