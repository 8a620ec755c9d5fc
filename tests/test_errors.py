"""Sentences made from errors of other code, and help for unknown names."""

from __future__ import annotations

import pytest

from efface.errors import first_line, suggest, summarize_error


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


@pytest.mark.parametrize("name", ["tofu-forget1", "TOFU_forget01", "tofu forget1"])
def test_zeros_before_a_number_and_underscores_do_not_matter(name):
    assert suggest(name, ["tofu-forget05", "tofu-forget10", "tofu-forget01"]).startswith("did you mean 'tofu-forget01'")
