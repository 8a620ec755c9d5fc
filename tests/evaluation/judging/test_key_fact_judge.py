from __future__ import annotations

import pytest

from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evaluation.judging.nli_judge import Claim, EntailmentVerdict


def verdict(output: str, key_fact: str | None, premise: str = "output") -> EntailmentVerdict:
    (labeled,) = KeyFactJudge().verdicts([Claim(output, "unread", key_fact, premise)])
    return labeled


@pytest.mark.parametrize(
    ("output", "key_fact"),
    [
        ("She was born in Porto Alegre.", "Porto Alegre"),
        ("she was born in PORTO\n  alegre", "Porto Alegre"),
        ("Porto Alegre", " porto   alegre "),
        ("It is called 'C++ (again)'!", "C++ (again)"),
        ("In 1952.", "1952"),
        ("born in Straße 5", "STRASSE 5"),
    ],
)
@pytest.mark.parametrize("premise", ["output", "answer"])
def test_fact_in_the_output_is_entailed(output, key_fact, premise):
    assert verdict(output, key_fact, premise) == EntailmentVerdict("entailment")


@pytest.mark.parametrize(
    ("output", "key_fact"),
    [
        ("", "Rome"),
        ("She comes from Romeo's town.", "Rome"),
        ("Chrome", "Rome"),
        ("In 19524.", "1952"),
        ("Porto, then Alegre", "Porto Alegre"),
        ("axb", "a.b"),
    ],
)
def test_anything_else_is_neutral(output, key_fact):
    assert verdict(output, key_fact) == EntailmentVerdict("neutral")


def test_without_a_fact_there_is_a_reason_and_no_label():
    labeled = verdict("Rome", None)
    assert labeled.label is None
    assert "no key fact" in labeled.reason
