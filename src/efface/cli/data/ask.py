"""`efface data answers`, `alternatives` and `probe`: a model's answers to questions -> data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from efface.cli.common import completion
from efface.cli.common.options import Json, examples, interruptible, source_and_pairs

if TYPE_CHECKING:
    from efface.commands.probe_report import Report

app = typer.Typer()
_SHARED = ("text.", "device=")
"""Settings of the probe that a run on its data needs as well."""

QuestionsAndSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUESTIONS|KEY=VALUE",
        show_default=False,
        autocompletion=completion.pairs,
        help="A file of questions and correct answers, in any format of data.forget; then settings: model=, "
        "text.format=, evaluate.max_new_tokens= and, for other column names, questions.columns.answer= and so on.",
    ),
]


@app.command(
    epilog=examples(
        "efface data answers people.csv model=path/to/model --out answers.jsonl",
        "efface data answers people.jsonl questions.columns.answer=fact model=path/to/model --out answers.jsonl",
        "efface run data.forget=answers.jsonl data.retain=model-answers method=me+kl model=path/to/model --out runs/a",
    )
)
def answers(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write; new, .jsonl.", show_default=False)
    ],
    words: QuestionsAndSettings = None,
) -> None:
    """Write a file of a model's own answers to your questions, so that it can unlearn its own wording.

    The file can be used as data.forget or data.retain; scores compare with the correct answers.
    """
    from efface.config.data_commands import AnswersConfig

    config = _config(words, AnswersConfig)
    with interruptible("nothing was written; run the same command again"):
        from rich.console import Console

        from efface.commands.answers import answer_questions
        from efface.progress.console import ConsoleReporter
        from efface.report.number_format import pluralize
        from efface.report.sanitize import one_line

        with ConsoleReporter(Console()) as reporter:
            done = answer_questions(config, out, reporter=reporter)
            if done.blank:
                first = one_line(done.blank[0], 80)
                reporter.on_warning(
                    f"the model gave no answer to {pluralize(len(done.blank), 'question')} (first: {first!r}): left out"
                )
    typer.echo(f"answers: {out} ({done.questions - len(done.blank):,} of {pluralize(done.questions, 'question')})")


@app.command(
    epilog=examples(
        "efface data alternatives forget.jsonl model=path/to/model --out alternatives.jsonl",
        "efface run data.forget=alternatives.jsonl data.retain=retain.jsonl method=altpo+gd model=path/to/model "
        "--out runs/a",
    )
)
def alternatives(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write; new, .jsonl.", show_default=False)
    ],
    words: QuestionsAndSettings = None,
) -> None:
    """Write a file of other answers to your questions, which a model makes up: what AltPO trains.

    The file can be used as data.forget with method=altpo+gd.
    """
    from efface.config.data_commands import AlternativesConfig

    config = _config(words, AlternativesConfig)
    with interruptible("nothing was written; run the same command again"):
        from rich.console import Console

        from efface.commands.alternatives import write_alternatives
        from efface.progress.console import ConsoleReporter
        from efface.report.number_format import pluralize
        from efface.report.sanitize import one_line

        with ConsoleReporter(Console()) as reporter:
            done = write_alternatives(config, out, reporter=reporter)
            if done.without:
                first = one_line(done.without[0], 80)
                reporter.on_warning(
                    f"the model made up no other answer to {pluralize(len(done.without), 'question')} (first: "
                    f"{first!r}): left out"
                )
    typer.echo(
        f"alternatives: {out} ({pluralize(done.alternatives, 'answer')} to {pluralize(done.questions, 'question')})"
    )


@app.command(
    epilog=examples(
        "efface data probe model=path/to/model --out runs/known",
        "efface data probe facts.jsonl model=path/to/model evaluate.max_new_tokens=100 --out runs/known",
        "efface run real-world --data-dir runs/known model=path/to/model method=me+gd --out runs/first",
    )
)
def probe(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder to write; new or empty.", show_default=False)
    ],
    words: QuestionsAndSettings = None,
    as_json: Json = False,
) -> None:
    """Find which facts a model knows, and make a real-world scenario of them.

    A model knows an answer if its output has the key fact and the correct answer is more likely than every wrong one.
    Without QUESTIONS, well-known facts that come with efface are used. Two thirds of the known entities become the
    forget set and the retain set, the others are scored only.
    """
    from efface.config.data_commands import ProbeConfig

    config = _config(words, ProbeConfig)
    with interruptible("nothing was written; run the same command again"):
        from rich.console import Console

        from efface.commands.probe import check_new_folder, to_json_text, write_probe
        from efface.commands.probe import probe as ask
        from efface.files.folder_lock import lock_output
        from efface.progress.console import ConsoleReporter

        with lock_output(out):
            check_new_folder(out)
            with ConsoleReporter(Console(stderr=as_json)) as reporter:
                result = ask(config, reporter=reporter)
            if as_json:
                typer.echo(to_json_text(result.report))
            else:
                _print_counts(Console(), result.report)
            write_probe(result, out)
    if not as_json:
        typer.echo(_next_steps(result.report, out, [word for word in words or () if word.startswith(_SHARED)]))


def _config(words: list[str] | None, config_class: type[Any]) -> Any:
    """The settings on the command line: a file of questions comes first, if there is one."""
    from efface.config.resolve import resolve_config

    questions, pairs = source_and_pairs(words)
    settings = {} if questions is None else {"questions": {"path": questions}}
    return resolve_config(config_class, pairs=pairs, settings=settings)


def _print_counts(console: Any, report: Report) -> None:
    """One row for each kind of entity, and one for all."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from efface.report.sanitize import one_line

    table = Table(box=box.SIMPLE, title=Text(f"Known to {one_line(report.model)}"), title_justify="left")
    table.add_column("")
    for name in ("Ques-\ntions", "Fact in\noutput", "Correct\nanswer\nlikeliest", "Both", "Enti-\nties", "Known"):
        table.add_column(name, justify="right")
    kinds = {kind or "(no kind)": each for kind, each in report.kinds.items()} if len(report.kinds) > 1 else {}
    for name, each in (kinds | {"all": report.total}).items():
        table.add_row(Text(one_line(name)), *(f"{value:,}" for value in each.model_dump().values()))
    console.print(table)


def _next_steps(report: Report, out: Path, pairs: list[str]) -> str:
    """The paths that were written, and the command that uses them, with the settings `pairs`."""
    parts = report.split.model_dump() if report.split else {}
    forget, retain, score = (len(names) for names in parts.values())
    words = ["efface", "run", "real-world", "--data-dir", str(out), f"model={report.model}", *pairs, "method=me+gd"]
    return (
        f"data: {out} (entities: {forget:,} in the forget set, {retain:,} in the retain set, {score:,} scored only)\n"
        f"report: {out / 'probe.json'}\nnext: {shlex.join([*words, '--out', f'{out}-run'])}"
    )
