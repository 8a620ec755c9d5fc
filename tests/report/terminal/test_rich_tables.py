from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.artifacts import Partial, Scores
from efface.report.terminal.rich_tables import empty_table, join_metrics, output_text, print_line, print_sources


def printed(show: object, *arguments: object) -> str:
    console = Console(file=io.StringIO(), width=400, color_system=None)
    show(console, *arguments)  # type: ignore[operator]
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("output", "text"),
    [(None, "-"), ("", "(nothing)"), (" \n", "(nothing)"), ("[b]a\nb", "[b]a b"), ("123456789", "1234567…")],
)
def test_outputs_are_text_and_never_markup(output: str | None, text: str) -> None:
    assert output_text(output, 8).plain == text


def test_metrics_are_joined() -> None:
    assert join_metrics(["rouge", "truth_ratio"]) == "rouge, truth ratio"
    assert join_metrics([]) == "no metric"


def test_lines_are_cut() -> None:
    assert printed(print_line, "word " * 100).rstrip("\n").endswith("…")
    assert printed(print_line, "[red]two\nlines") == "[red]two lines\n"


def test_titles_are_not_markup() -> None:
    table = empty_table("[red]title")
    table.add_row("a cell that is wider than the title")
    assert "[red]title" in printed(lambda console: console.print(table))


def test_sources_have_the_reasons_of_all_models() -> None:
    def scores(notes: dict[str, str], **missing: str) -> Scores:
        none = {"model_utility": None, "model_utility_retain": None, "forget_efficacy": None}
        shared = {"partial": Partial(**none, metrics=[]), "embedder": None, "judge": "nli", "sets": {}}
        return Scores(**none, **shared, missing=missing, notes=notes)

    old = {"token_entropy": "retain: of other tokens"}
    text = printed(print_sources, [scores(old, rouge="one reason"), scores({}, entailment="another")])
    assert text.splitlines() == [
        "Embeddings: none; judge: nli.",
        "missing rouge: one reason",
        "missing entailment: another",
        "token_entropy on retain: of other tokens",
    ]
