"""Tables: the right numbers in the right places, readable at 80 columns, safe with hostile text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from efface.artifacts import METRICS, Metric, Partial, Record, Results, Scores, SetScores
from efface.report.terminal.answers import print_answers
from efface.report.terminal.results import print_results, print_scores

HOSTILE = "\x1b[2J\x1b[31m[red]gone[/red] \\[/] \u202eRTL\nline two\n" + "word" * 25_000


def set_scores(n: int, first: float, without: tuple[Metric, ...] = ()) -> SetScores:
    values = {metric: None if metric in without else first + 0.1 * place for place, metric in enumerate(METRICS)}
    return SetScores(n=n, **values)


def scores(first: float = 0.1, without: tuple[Metric, ...] = (), **fields: Any) -> Scores:
    aggregates = {"model_utility": 0.711, "model_utility_retain": 0.822, "forget_efficacy": 0.933}
    whole = dict.fromkeys(aggregates, None) if without else aggregates
    return Scores(
        **whole
        | {
            "partial": Partial(**aggregates, metrics=[metric for metric in METRICS if metric not in without]),
            "missing": dict.fromkeys(without, "nobody to judge"),
            "embedder": "MiniLM",
            "judge": "key-facts",
            "sets": {"retain": set_scores(300, first, without), "forget": set_scores(40, first + 0.3, without)},
        }
        | fields
    )


def results(before: Scores, after: Scores, definition: str = "closer-look") -> Results:
    return Results(definition=definition, method="me+gd", before=before, after=after)


@pytest.fixture(params=[80, 100, 160])
def shown(request: pytest.FixtureRequest) -> Callable[..., str]:
    """What a printing function shows in a terminal of 80, 100 or 160 columns."""

    def show(function: Callable[..., None], *arguments: Any, **options: Any) -> str:
        console = Console(width=request.param, color_system=None, force_terminal=True)
        with console.capture() as captured:
            function(console, *arguments, **options)
        text = captured.get()
        assert all(len(line) <= request.param for line in text.splitlines())
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)
        return text

    return show


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_results_of_two_methods(shown: Callable[..., str]) -> None:
    before = scores()
    text = shown(print_results, {"me+gd": results(before, scores(0.2)), "idk+ap": results(before, scores(0.3))})
    assert ["ME+GD", "0.711", "0.822", "0.933"] in rows(text)
    sets = text[text.index("Metrics by set") :]
    assert rows(sets[sets.index("retain (300)") : sets.index("forget (40)")])[1:4] == [
        ["before", "0.100", "0.200", "0.300", "0.400", "0.500", "0.600"],
        ["ME+GD", "0.200", "0.300", "0.400", "0.500", "0.600", "0.700"],
        ["IDK+AP", "0.300", "0.400", "0.500", "0.600", "0.700", "0.800"],
    ]
    assert ["before", "0.400", "0.500", "0.600", "0.700", "0.800", "0.900"] in rows(sets[sets.index("forget (40)") :])
    assert "Scores (closer-look)" in text
    assert "Partial" not in text
    assert "Embeddings: MiniLM; judge: key-facts." in text


def test_partial_scores_say_so(shown: Callable[..., str]) -> None:
    one = scores(without=("cosine_similarity", "entailment"))
    text = shown(print_results, {"me+gd": results(one, one)})
    assert "Partial scores (closer-look)" in text
    assert "Partial: over rouge, probability, truth ratio, token entropy alone" in text
    assert ["before", "0.711", "0.822", "0.933"] in rows(text)
    assert ["before", "0.100", "0.200", "0.300", "0.400", "-", "-"] in rows(text)
    assert "missing entailment: nobody to judge" in text


def test_partial_scores_over_different_metrics_are_not_set_side_by_side(shown: Callable[..., str]) -> None:
    text = shown(print_results, {"me+gd": results(scores(), scores(without=("entailment",)))})
    assert ["before", "0.711", "0.822", "0.933"] in rows(text)
    assert ["ME+GD", "-", "-", "-"] in rows(text)


def test_scores_of_one_model(shown: Callable[..., str]) -> None:
    one = {"definition": "paper", **scores().model_dump()}
    text = shown(print_scores, one)
    assert "Scores (paper)" in text
    assert ["0.711", "0.822", "0.933"] in rows(text)
    assert ["forget", "(40)", "0.400", "0.500", "0.600", "0.700", "0.800", "0.900"] in rows(text)
    assert "Forget quality" not in text
    with_quality = shown(print_scores, one | {"forget_quality": {"p_value": 1e-9, "statistic": 0.5}})
    assert "Forget quality: p = 1e-09 (Kolmogorov-Smirnov statistic 0.5000)" in with_quality


@pytest.mark.parametrize(
    ("definition", "aside"), [("closer-look", "(entropy aside)"), ("tofu", "(truth ratio and entropy aside)")]
)
def test_what_is_better_depends_on_the_definition(shown: Callable[..., str], definition: str, aside: str) -> None:
    assert f"On forget, lower is better {aside}" in shown(
        print_scores, {"definition": definition, **scores().model_dump()}
    )


def test_hostile_names_and_reasons(shown: Callable[..., str]) -> None:
    one = scores(embedder=HOSTILE, judge=HOSTILE, missing={"entailment": HOSTILE})
    text = shown(print_results, {"me+gd": results(one, one)})
    assert "[red]gone[/red]" in text
    assert len(text) < 10_000


def record(question: str, output: str) -> Record:
    return Record(
        set="forget",
        id=f"id of {question[:10]}",
        question=question,
        answer="a",
        output=output,
        output_token_ids=[],
        answer_logprobs=[-1.0],
        paraphrased_logprobs=None,
        perturbed_logprobs=[],
        embedding_target="a",
        embedder=None,
        cosine_answer=None,
        cosine_before=None,
        entailment_target="a",
        entailment_premise="answer",
        judge=None,
        entailment_label=None,
    )


def test_answers_side_by_side(shown: Callable[..., str]) -> None:
    before = [record(f"Q{n}?", f"B{n}.") for n in range(9)]
    after = {name: [record(f"Q{n}?", f"{name[0]}{n}.") for n in range(9)] for name in ("me+gd", "idk+ap")}
    text = shown(print_answers, before, after, title="To be forgotten")
    assert ["Q3?", "B3.", "ME+GD", "m3."] in rows(text)
    assert ["IDK+AP", "i3."] in rows(text)
    assert [line[0] for line in rows(text) if line[0].startswith("Q")] == ["Q0?", "Q3?", "Q6?"]


def test_answers_belong_to_their_question_whatever_their_order(shown: Callable[..., str]) -> None:
    before = [record(f"Q{n}?", f"B{n}.") for n in range(4)]
    after = [record(f"Q{n}?", f"A{n}.") for n in (2, 0, 1)]
    text = shown(print_answers, before, {"me+gd": after}, title="To be forgotten", count=9)
    assert [line for line in rows(text) if line[0].startswith("Q")] == [
        [f"Q{n}?", f"B{n}.", "ME+GD", f"A{n}."] for n in range(3)
    ]


def test_hostile_and_empty_answers(shown: Callable[..., str]) -> None:
    before = [record(HOSTILE, HOSTILE), record("[bold]?", "")]
    text = shown(print_answers, before, {"me+gd": before}, title="[red]To be forgotten")
    assert "[red]To be forgotten" in text
    assert "[bold]?" in text
    assert text.count("(nothing)") == 2
    assert "[/red]" in text
    assert len(text) < 10_000


def test_no_answers(shown: Callable[..., str]) -> None:
    assert "question" in shown(print_answers, [], {"me+gd": []}, title="To be forgotten")
