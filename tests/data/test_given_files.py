"""The files of the user among the data of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.data.given_files import find_given, given_files

SETTINGS = {
    "data": {
        "source": "files",
        "forget": {"path": "~/bob.csv", "limits": {"max_mib": 1}},
        "retain": "model-answers",
        "extra_retain": {"path": "hf:tatsu-lab/alpaca"},
        "holdout": "published",
        "forgotten_before": [3, {"path": "ann.csv"}],
        "refusals": "no.txt",
    },
    "continual": {"requests": [1, "first/eve.csv"]},
}


def test_files_of_all_settings() -> None:
    assert given_files(SETTINGS) == {
        "~/bob.csv": "forget set",
        "ann.csv": "forget set",
        "first/eve.csv": "forget set",
        "no.txt": "refusals",
    }


def test_a_benchmark_has_none() -> None:
    assert given_files({"data": {"source": "tofu", "refusals": "published", "holdout": None}}) == {}
    assert given_files({}) == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (str(Path("~/bob.csv").expanduser()), "forget set"),
        ("/elsewhere/bob.csv", "forget set"),
        ("no.txt", "refusals"),
        ("tofu/forget01.json", None),
        ("12 known facts", None),
        ("hf:tatsu-lab/alpaca", None),
    ],
)
def test_sources_of_a_manifest(source: str, expected: str | None) -> None:
    assert find_given(source, given_files(SETTINGS)) == expected


def test_of_two_files_of_one_name_the_one_in_the_same_folder() -> None:
    files = given_files({"data": {"forget": {"path": "a/x.csv"}, "retain": {"path": "b/x.csv"}}})
    assert [find_given(each, files) for each in ("a/x.csv", "b/x.csv")] == ["forget set", "retain set"]


def test_the_home_folder_of_nobody() -> None:
    assert find_given("x", given_files({"data": {"forget": {"path": "~nosuchuser/x"}}})) == "forget set"
