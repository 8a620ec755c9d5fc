"""Paths in what people publish name neither folders of the machine nor its users."""

from __future__ import annotations

import pytest

from efface.report.paths import shorten_paths


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    (tmp_path / "ada" / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    monkeypatch.chdir(tmp_path / "ada" / "work")
    return tmp_path / "ada"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("model: {home}/work/runs/a/model\n", "model: runs/a/model\n"),
        ("efface run '{home}/work/my file.yaml' --out={home}/out", "efface run 'my file.yaml' --out=~/out"),
        ('"data": {{"{home}/x.csv": "ab"}}', '"data": {{"~/x.csv": "ab"}}'),
        ("plugins: [{home}/work/mine.py:Mine]", "plugins: [mine.py:Mine]"),
        ("out: {home}/work", "out: ."),
        ("{home}", "~"),
        ("{home}/worker/x", "~/worker/x"),
        ("{home}x/y", "{home}x/y"),
        ("/home/grace/x.csv and /Users/alan/x, /root/y", "~/x.csv and ~/x, ~/y"),
        ("C:\\Users\\alan\\x.csv", "~\\x.csv"),
        ('"C:\\\\Users\\\\alan\\\\x.csv"', '"~\\\\x.csv"'),
        ("https://x.org/home/grace/x", "https://x.org/home/grace/x"),
        ("data/home/grace/x, owner/name, /mnt/x", "data/home/grace/x, owner/name, /mnt/x"),
    ],
)
def test_paths_are_relative_or_start_with_a_tilde(places, text, shown):
    assert shorten_paths(text.format(home=places)) == shown.format(home=places)


def test_a_working_directory_of_everything_changes_nothing(monkeypatch):
    monkeypatch.chdir("/")
    assert shorten_paths("/etc/x") == "/etc/x"
