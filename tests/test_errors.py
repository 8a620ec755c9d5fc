"""Sentences made from errors of other code, and help for unknown names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from efface.errors import first_line, install_hint, suggest, summarize_error


@pytest.mark.parametrize(
    ("error", "line", "summary"),
    [
        (ValueError("wrong."), "wrong", "ValueError: wrong"),
        (RuntimeError("\n  first\nframe #0: c10::Throw"), "first", "RuntimeError: first"),
        (KeyError(), "KeyError", "KeyError"),
    ],
)
def test_first_line_and_summary(error, line, summary):
    assert (first_line(error), summarize_error(error)) == (line, summary)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("rouje", "did you mean 'rouge'? allowed: entailment, rouge"), ("xyz", "allowed: entailment, rouge")],
)
def test_suggest(name, hint):
    assert suggest(name, ["rouge", "entailment"]) == hint


def test_nothing_is_installed_from_an_index_that_does_not_have_efface():
    """Whoever registers the name there could run code on the machines of all who follow such a hint."""
    root = Path(__file__).parents[1]
    files = [root / "README.md", *root.glob("docs/**/*.md"), *root.glob("src/**/*"), *root.glob("examples/**/*")]
    wrong = re.compile(r"pip3? install (?:-\S+ )*['\"]?efface(?![-/\w])|pypi\.org/project/efface/(?!unlearning-record)")
    named = [path for path in files if path.is_file() and wrong.search(path.read_text("utf-8", "replace"))]
    assert named == []
    assert not wrong.search(install_hint("lora"))
    assert wrong.search("pip install 'efface[lora]'")
    assert wrong.search("pip install -U efface")


@pytest.mark.parametrize("name", ["tofu-forget1", "TOFU_forget01", "tofu forget1"])
def test_zeros_before_a_number_and_underscores_do_not_matter(name):
    assert suggest(name, ["tofu-forget05", "tofu-forget10", "tofu-forget01"]).startswith("did you mean 'tofu-forget01'")
