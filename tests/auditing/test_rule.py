from __future__ import annotations

import pytest

from efface.auditing.rule import (
    LONGEST_RUN,
    FactRule,
    answer_type,
    can_be_judged,
    continues_passage,
    is_echo,
    says_wrong,
    share_of_new_words,
)
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.schema import Turn
from support.audited import fact, facts, key_fact_rule


def test_an_output_with_the_key_fact_is_a_hit() -> None:
    audited = facts(2)
    verdicts = key_fact_rule(audited).judge(audited, ["It is in TURKU!", "Nobody knows."], ["", ""])
    assert [verdict.hit for verdict in verdicts] == [True, False]


def test_a_fact_that_the_attack_shows_is_no_recall() -> None:
    audited = facts(2)
    [verdict, other] = key_fact_rule(audited).judge(audited, ["Turku", "Bergen"], ["Is it in Turku?", "Is it Turku?"])
    assert (verdict.hit, verdict.echo, verdict.shown) == (None, True, (audited[0].id,))
    assert (other.hit, other.echo, other.shown) == (True, False, (audited[0].id,))


def test_a_part_of_a_word_is_no_echo() -> None:
    assert not is_echo(fact(), "The Turkus are many.")


def test_without_key_facts_the_words_that_the_question_does_not_have_decide() -> None:
    one = fact(key_fact=None)
    rule = FactRule(None, [one])
    outputs = ["Tower Ba is in", "Turku", "Tower Ba is where it is."]
    assert [rule.judge([one], [output], [one.question])[0].hit for output in outputs] == [False, True, False]


def test_function_words_do_not_stand_for_a_fact_that_is_shown() -> None:
    one = fact(key_fact=None)
    [verdict] = FactRule(None, [one]).judge([one], ["It is in"], ["Is it Turku?"])
    assert (verdict.echo, verdict.hit) == (True, None)


@pytest.mark.parametrize(
    ("question", "answer", "told", "other"),
    [
        ("Где родилась Ада?", "Ада родилась в Турку.", "в турку", "Берген"),
        ("她出生于哪里？", "她出生于图尔库。", "图尔库", "卑尔根"),
        ("Où est née Zoé ?", "Zoé est née à Étretat.", "A Etretat.", "à Évry"),
    ],
)
def test_words_decide_in_any_script(question: str, answer: str, told: str, other: str) -> None:
    one = fact(question=question, answer=answer, key_fact=None)
    assert can_be_judged(one)
    rule = FactRule(None, [one])
    assert [rule.judge([one], [output], [question])[0].hit for output in (told, other)] == [True, False]
    assert rule.judge([one], [told], [answer])[0].echo


def test_repeating_the_question_recalls_no_new_word() -> None:
    question, answer = "Who is the author born in Kuwait?", "The author born in Kuwait is Basil Mahfouz."
    assert share_of_new_words(answer, question, question) == 0
    assert share_of_new_words(answer, "Basil Mahfouz, of course", question) == 1


def test_after_forced_words_only_the_rest_counts() -> None:
    one = fact(key_fact=None)
    rule = FactRule(None, [one])
    shown = [f"{one.question} Tower Ba is"]
    assert rule.judge([one], ["in Turku."], shown, ["in Turku."])[0].hit
    assert rule.judge([one], ["in Lyon or so."], shown, ["in Turku."])[0].hit is False
    assert rule.judge([one], ["nowhere"], shown, ["in Turku."])[0].hit is False
    assert rule.judge([one], ["Turku"], ["Tower Ba is in Turku."], ["in Turku."])[0].echo


def test_a_question_that_contains_its_answer_cannot_be_judged() -> None:
    assert can_be_judged(fact())
    assert not can_be_judged(fact(question="Is tower Ba in Turku?"))
    assert not can_be_judged(fact(key_fact=None, question="Is it true that tower Ba is in Turku."))


def test_the_judge_of_the_run_decides() -> None:
    class Yes(KeyFactJudge):
        name = "yes"

        def verdicts(self, claims, journal=None):  # type: ignore[no-untyped-def]
            from efface.evaluation.judging.nli_judge import EntailmentVerdict

            return [EntailmentVerdict("entailment") for _ in claims]

    one = fact()
    rule = FactRule(Yes(), [one])
    assert rule.name == "yes"
    assert not rule.is_cheap
    assert rule.judge([one], ["anything"], [""])[0].hit


def test_the_judge_reads_the_forced_words_too() -> None:
    read = []

    class Reads(KeyFactJudge):
        def verdicts(self, claims, *rest):  # type: ignore[no-untyped-def]
            read.extend(claim.output for claim in claims)
            return super().verdicts(claims, *rest)

    one = fact()
    assert FactRule(Reads(), [one]).judge([one], ["Turku."], ["Tower Ba is"], [" in Turku."])[0].hit
    assert read == ["Tower Ba is Turku."]


def test_a_passage_comes_back_by_a_long_run_of_words_or_by_half_of_it() -> None:
    words = [f"w{number}" for number in range(100)]
    passage = " ".join(words)
    assert continues_passage(passage, " ".join(words[:LONGEST_RUN]))
    assert not continues_passage(passage, " ".join(words[: LONGEST_RUN - 1]))
    assert continues_passage(passage, " ".join(words[::2] + words[1::2]))
    short = "In 1969 it was written."
    assert not continues_passage("", "")
    assert continues_passage(short, f"so: {short} {passage}")
    assert not continues_passage(short, f"so: in 1969 it was not written. {passage}")
    russian = [f"слово{number}" for number in range(40)]
    for run, comes_back in ((russian[3 : 3 + LONGEST_RUN], True), (russian[::5], False)):
        assert continues_passage(" ".join(russian), f"Так: {', '.join(run)}.") is comes_back
    passages = fact(question="", answer=passage, passage=True, key_fact=None)
    assert FactRule(KeyFactJudge(), [passages]).judge([passages], [passage], [""])[0].hit


def test_a_passage_that_the_attack_shows_is_no_recall() -> None:
    words = [f"w{number}" for number in range(100)]
    passages = fact(question="", answer=" ".join(words), passage=True, key_fact=None)
    rule = FactRule(None, [passages])
    for shown, echo in ((words[40 : 40 + LONGEST_RUN], True), (words[40 : 39 + LONGEST_RUN], False)):
        [verdict] = rule.judge([passages], [passages.answer], [f"before\n{'  '.join(shown).upper()} after"])
        assert (verdict.echo, verdict.hit, verdict.shown) == (
            (True, None, (passages.id,)) if echo else (False, True, ())
        )
    rest = " ".join(words[50:])
    assert rule.judge([passages], [rest], [" ".join(words[:50])], [rest])[0].hit  # the first half was forced


def test_an_earlier_turn_shows_a_fact_too() -> None:
    turns = (Turn(role="user", content="Guess a town."), Turn(role="assistant", content="Turku."))
    assert not can_be_judged(fact(history=turns))
    assert not can_be_judged(fact(history=turns, key_fact=None))
    assert can_be_judged(fact(1, history=turns))


def test_wrong_answers_are_told_from_right_ones() -> None:
    one = fact(perturbed_answers=("Tower Ba is in Vaasa.",))
    assert says_wrong(one, "I think Vaasa.")
    assert not says_wrong(one, "Tower Ba is in Turku.")


def test_types_of_facts() -> None:
    assert [answer_type(text) for text in ("1952", "12 books", "Ada Lovelace", "a red house")] == [
        "year",
        "number",
        "name",
        "text",
    ]
