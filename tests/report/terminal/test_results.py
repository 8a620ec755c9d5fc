"""Tables of scores: correct numbers, readable at 80 columns, safe with hostile text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from efface.artifacts import METRICS, Metric, Partial, Results, Scores, SetScores
from efface.report.terminal.results import print_results, print_scores
from support.terminal import printed, rows

HOSTILE = "\x1b[2J\x1b[31m[red]gone[/red] \\[/] \u202eRTL\nline two\n" + "word" * 25_000


def set_scores(n: int, first: float, without: tuple[Metric, ...] = ()) -> SetScores:
    values = {metric: None if metric in without else first + 0.1 * place for place, metric in enumerate(METRICS)}
    return SetScores(n=n, **values)


def scores(first: float = 0.1, without: tuple[Metric, ...] = (), **fields: Any) -> Scores:
    aggregates = {"model_utility": 0.711, "model_utility_retain": 0.822, "forget_efficacy": 0.933}
    available = dict.fromkeys(aggregates, None) if without else aggregates
    return Scores(
        **available
        | {
            "partial": Partial(**aggregates, metrics=[metric for metric in METRICS if metric not in without]),
            "missing": dict.fromkeys(without, "no judge"),
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
    """Run a printing function in a terminal of 80, 100 or 160 columns."""
    return partial(printed, request.param)


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


def test_partial_scores_are_marked(shown: Callable[..., str]) -> None:
    one = scores(without=("cosine_similarity", "entailment"))
    text = shown(print_results, {"me+gd": results(one, one)})
    assert "Partial scores (closer-look)" in text
    assert "Partial: over rouge, probability, truth ratio, token entropy, the metrics" in text
    assert ["before", "0.711", "0.822", "0.933"] in rows(text)
    assert ["before", "0.100", "0.200", "0.300", "0.400", "-", "-"] in rows(text)
    assert "missing: cosine similarity, entailment; results.json and efface report say why" in " ".join(text.split())


def test_partial_scores_over_different_metrics_are_not_compared(shown: Callable[..., str]) -> None:
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
    ("definition", "exceptions"), [("closer-look", "token entropy"), ("tofu", "truth ratio and token entropy")]
)
def test_what_is_better_depends_on_the_definition(shown: Callable[..., str], definition: str, exceptions: str) -> None:
    assert f"On forget, lower is better (except {exceptions})" in shown(
        print_scores, {"definition": definition, **scores().model_dump()}
    )


def test_hostile_names_and_reasons(shown: Callable[..., str]) -> None:
    one = scores(embedder=HOSTILE, judge=HOSTILE, missing={"entailment": HOSTILE})
    text = shown(print_results, {"me+gd": results(one, one)})
    assert "[red]gone[/red]" in text
    assert "[red]gone[/red]" in shown(print_scores, {"definition": "closer-look", **one.model_dump()})
    assert len(text) < 10_000


@pytest.fixture
def custom(shown: Callable[..., str]) -> Callable[..., list[list[str]]]:
    """The lines of the table of custom metrics."""

    def show(function: Callable[..., None], *arguments: Any) -> list[list[str]]:
        _, _, table = shown(function, *arguments).partition("Other metrics by set")
        return [line for line in rows(table) if line]

    return show


def with_custom(**sets: dict[str, float | None]) -> Scores:
    return scores(sets={name: set_scores(4, 0.1).model_copy(update={"custom": each}) for name, each in sets.items()})


def test_custom_metrics_before_and_after(custom: Callable[..., list[list[str]]]) -> None:
    before = with_custom(retain={"declines": 0.0, "words": None}, forget={"declines": 0.25, "words": 12.0})
    after = with_custom(retain={}, forget={"declines": 0.75, "words": 3.5})
    table = custom(print_results, {"me+gd": results(before, after)})
    assert ["declines", "words"] in table
    forget, retain = table.index(["forget", "(4)"]), table.index(["retain", "(4)"])
    assert table[retain + 1 : retain + 3] == [["before", "0.000", "-"], ["ME+GD", "-", "-"]]
    assert table[forget + 1 : forget + 3] == [["before", "0.250", "12.000"], ["ME+GD", "0.750", "3.500"]]


def test_extraction_strength_is_beside_the_custom_metrics(custom: Callable[..., list[list[str]]]) -> None:
    one = with_custom(forget={"declines": 0.25}, retain={"declines": 0.5})
    one.sets["forget"].extraction_strength = 0.75
    table = custom(print_scores, {"definition": "paper", **one.model_dump()})
    assert ["Extraction", "strength", "declines"] in table
    assert ["retain", "(4)", "-", "0.500"] in table
    assert ["forget", "(4)", "0.750", "0.250"] in table


def test_custom_metrics_of_one_model_with_a_hostile_name(custom: Callable[..., list[list[str]]]) -> None:
    name = "\x1b[2J[red]gone[/red]"
    table = custom(print_scores, {"definition": "paper", **with_custom(forget={name: 0.25}).model_dump()})
    assert ["forget", "(4)", "0.250"] in table
    assert any("[red]gone[/red]" in word for line in table for word in line)


def test_no_table_without_custom_metrics(custom: Callable[..., list[list[str]]]) -> None:
    assert custom(print_scores, {"definition": "paper", **with_custom(forget={}).model_dump()}) == []


def test_hallucinations(shown: Callable[..., str]) -> None:
    answers = {"n": 8, "judge": "nli", "made_up": 0.5, "right": 0.25, "declined": 0.125, "silent": 0.125}
    text = " ".join(
        shown(print_scores, {"definition": "paper", **scores().model_dump(), "hallucinations": answers}).split()
    )
    assert "The 8 answers on the forget set, judged by nli: correct 25.0%, declined 12.5%, made up 50.0%" in text
