from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from efface.report import audit_words
from efface.report.audit_words import (
    FORBIDDEN,
    LIMITS,
    NOT_BROUGHT_BACK,
    bound_of_none,
    count_of,
    headline,
    percent,
    short_count,
)
from support.audit_results import attack, results


def test_the_sentence_has_counts_intervals_control_and_the_strongest_attack() -> None:
    sentence = headline(results())
    for part in ("11 of 34", "32 %", "17 to 51 %", "2 of 34", "26 points", "12 to 41", "relearn (9)", NOT_BROUGHT_BACK):
        assert part in sentence


def test_what_the_interval_of_the_excess_takes_as_independent() -> None:
    excess = results().excess
    assert excess is not None
    assert "95 % interval 12 to 41, with questions taken as independent" in headline(results())
    by_subject = excess.model_copy(update={"by_subject": True})
    assert "95 % interval 12 to 41, with subjects taken as independent" in headline(results(excess=by_subject))


def test_none_is_never_said_without_its_bound() -> None:
    assert [round(100 * bound_of_none(n), 1) for n in (10, 20, 40, 100, 400)] == [25.9, 13.9, 7.2, 3.0, 0.7]
    assert "7.2 %" in count_of(0, 40)
    assert "26 %" not in count_of(1, 10)
    assert (short_count(0, 20), short_count(3, 20)) == ("0 of 20 (≤ 14 %)", "3 of 20")
    sentence = headline(results(0, 40, control=0))
    assert sentence.count("7.2 %") == 2  # of the model and of the control
    assert NOT_BROUGHT_BACK in sentence


def test_without_a_control_guesses_are_not_subtracted() -> None:
    sentence = headline(results(control=None))
    assert "not subtracted" in sentence
    assert "2 %" in sentence


def test_few_facts_are_said_to_be_few() -> None:
    assert "Only 12" in headline(results(3, 12))
    assert "Only" not in headline(results(3, 20))


def test_an_attack_that_does_not_count_is_not_the_strongest() -> None:
    found = results(attacks={"relearn": attack(0.1), "both-models": attack(1.0, in_union=False)})
    assert "Most by relearn" in headline(found)


@pytest.mark.parametrize("words", FORBIDDEN)
def test_nothing_is_said_to_be_gone(words: str) -> None:
    sentences = [
        headline(results(k, n, control=control))
        for k, n, control in itertools.product((0, 1, 9, 40), (40, 400), (None, 0, 1))
        if k <= n
    ]
    for text in [LIMITS, NOT_BROUGHT_BACK, *sentences]:
        assert words not in text.casefold()


def test_nothing_elsewhere_says_so() -> None:
    root = Path(__file__).parents[2]
    places = ("src/efface/audit*/**/*.py", "src/efface/**/audit*.py", "docs/audit*.md", "docs/how-to/audit.md")
    files = {path for place in places for path in root.glob(place)} - {Path(audit_words.__file__)}
    assert len(files) > 40
    for path in files:
        words = set(re.findall(r"[a-z]+", path.read_text(encoding="utf-8").casefold()))
        assert not words & {*FORBIDDEN}, path


def test_percentages() -> None:
    assert [percent(share) for share in (0, 0.005, 0.0721, 0.324, 1)] == ["0 %", "0.5 %", "7.2 %", "32 %", "100 %"]
