"""The tables of a queue of requests."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from efface.artifacts import METRICS, ContinualResults, Metric, Partial, Scores, SetScores
from efface.report.terminal.continual import print_continual


def scores(value: float, sets: tuple[str, ...], without: tuple[Metric, ...] = ()) -> Scores:
    one = SetScores(n=40, **{metric: None if metric in without else value for metric in METRICS})
    complete = None if without else value
    return Scores(
        model_utility=complete,
        model_utility_retain=complete,
        forget_efficacy=complete,
        partial=Partial(model_utility=value, model_utility_retain=value, forget_efficacy=value, metrics=["rouge"]),
        missing=dict.fromkeys(without, "no judge"),
        embedder=None,
        judge="key-facts",
        sets=dict.fromkeys(sets, one),
    )


def queue(count: int, name: str = "task {}", without: tuple[Metric, ...] = ()) -> ContinualResults:
    """Request r scores r/100 + t/1000 at time t."""
    forgotten = tuple(f"forgotten-{number}" for number in range(1, count + 1))
    return ContinualResults(
        definition="closer-look",
        method="npo+gd",
        requests=[name.format(number) for number in range(1, count + 1)],
        before=scores(0.9, ("retain", *forgotten), without),
        after=[scores(0.8 - time / 100, ("retain", "forget", *forgotten[:time]), without) for time in range(count)],
        metrics=["rouge", "truth_ratio"],
        forget_efficacy=[
            [None if 0 < time < place else place / 100 + time / 1000 for time in range(count + 1)]
            for place in range(1, count + 1)
        ],
    )


@pytest.fixture(params=[80, 120])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def shown(results: ContinualResults, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=True)
    with console.capture() as captured:
        print_continual(console, results)
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    return lines


def row(lines: list[str], start: str) -> list[str]:
    """The cells of the one line that starts so, without its name."""
    [line] = [line for line in lines if line.strip().startswith(start)]
    return line.strip().removeprefix(start).split()


def test_ten_requests_fit_into_80_columns(width: int) -> None:
    lines = shown(queue(10), width)
    header = next(line.split() for line in lines if line.split()[:2] == ["0", "1"])
    assert header == [str(time) for time in range(11)]
    assert row(lines, "1: task 1 ") == [f"{0.01 + time / 1000:.3f}".removeprefix("0") for time in range(11)]
    assert row(lines, "2: task 2 ") == [".020", *(f".0{22 + time}" for time in range(9))]
    assert row(lines, "10: task 10") == [".100", ".110"]
    assert row(lines, "Model utility") == [".900", *(f".{80 - time}0" for time in range(10))]
    assert row(lines, "on retain") == row(lines, "Model utility")
    assert not any("…" in line for line in lines)


def test_a_score_of_one_takes_no_more_space(width: int) -> None:
    results = queue(10)
    for line in results.forget_efficacy:
        line[:] = [1.0] * 11
    assert row(shown(results, width), "1: task 1 ") == ["1.00"] * 11


def test_more_requests_go_into_a_table_below(width: int) -> None:
    lines = shown(queue(14), width)
    second = next(place for place, line in enumerate(lines) if line.split()[:1] == ["11"])
    above, below = lines[:second], lines[second:]
    assert row(above, "14: task 14") == [".140"]
    assert row(above, "10: task 10") == [".100", ".110"]
    assert below[0].split() == ["11", "12", "13", "14"]
    assert row(below, "1: task 1 ") == [".021", ".022", ".023", ".024"]
    assert row(below, "13: task 13") == [".143", ".144"]
    assert row(below, "Model utility") == [".700", ".690", ".680", ".670"]


def test_times_before_a_request_are_blank(width: int) -> None:
    """The following cells stay in their columns."""
    lines = shown(queue(3), width)
    first, third = (next(line for line in lines if f"{n}: task {n}" in line) for n in (1, 3))
    assert [match.start() for match in re.finditer(r"\.\d{3}", third)] == [
        [match.start() for match in re.finditer(r"\.\d{3}", first)][time] for time in (0, 3)
    ]


def test_a_missing_number_is_a_dash(width: int) -> None:
    results = queue(2)
    results.forget_efficacy[0][:] = [None] * 3
    results.forget_efficacy[1][:] = [None] * 3
    lines = shown(results, width)
    assert row(lines, "1: task 1") == ["-", "-", "-"]
    assert row(lines, "2: task 2") == ["-", "-"]


def test_the_end_of_a_long_path_is_shown(width: int) -> None:
    lines = shown(queue(10, "/home/someone/long/way/to/[red]people-{}.csv"), width)
    assert [line.split()[1] for line in lines if "…" in line] == [
        *(f"…red]people-{number}.csv" for number in range(1, 10)),
        "…ed]people-10.csv",
    ]


def test_hostile_names_are_one_line(width: int) -> None:
    lines = shown(queue(2, "\x1b[2Jtask\n{}\u202e"), width)
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_partial_scores_name_their_metrics(width: int) -> None:
    text = " ".join(" ".join(shown(queue(2, without=("cosine_similarity",)), width)).split())
    assert "Utility is partial: over rouge, probability, truth ratio, token entropy, entailment, the metrics" in text
    assert "Forget efficacy: 1 - the mean of rouge, truth ratio on a forget set; below" in text
    assert "Embeddings: none; judge: key-facts." in text
    assert "missing: cosine similarity; results.json and efface report say why" in text
    assert "partial" not in " ".join(shown(queue(2), width))
