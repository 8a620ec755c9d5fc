"""The commands `data answers` and `data probe`, which ask a model questions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from efface.cli.common import completion
from efface.cli.common.options import Json, examples, interruptible, source_and_pairs
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.commands.probe_report import Report

app = typer.Typer()
_SHARED = ("text.", "device=")
"""Settings that a run on what was found needs, too."""

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUESTIONS|KEY=VALUE",
        show_default=False,
        autocompletion=completion.pairs,
        help="A file of questions and right answers, whatever else data.forget could be; then settings: model=, "
        "text.format=, evaluate.max_new_tokens= and, for other names of columns, questions.columns.answer= and so on.",
    ),
]


@app.command(
    epilog=examples(
        "efface data answers people.csv model=path/to/model --out answers.jsonl",
        "efface data answers people.jsonl questions.columns.answer=fact model=path/to/model --out answers.jsonl",
        "efface run data.forget=answers.jsonl data.retain=model-answers method=me+gd model=path/to/model --out runs/own",
    )
)
def answers(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the answers go; new, .jsonl.", show_default=False)
    ],
    words: Words = None,
) -> None:
    """Write down what a model itself says to your questions, to make it forget its own words.

    The file can be used as data.forget or data.retain; it is scored by the right answers.
    """
    from efface.config.commands import AnswersConfig
    from efface.config.parse import validate_config

    values = _settings(words, AnswersConfig)
    if "questions" not in values:
        raise EffaceError("no questions: give a file of questions and right answers, such as people.csv, first")
    config = validate_config(AnswersConfig, values)
    with interruptible("nothing was written; the same command starts anew"):
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
                    f"nothing was said to {pluralize(len(done.blank), 'question')} (first: {first!r}): left out"
                )
    typer.echo(f"answers: {out} ({done.questions - len(done.blank):,} of {pluralize(done.questions, 'question')})")


@app.command(
    epilog=examples(
        "efface data probe model=path/to/model --out runs/known",
        "efface data probe facts.jsonl model=path/to/model evaluate.max_new_tokens=100 --out runs/known",
        "efface run real-world --data-dir runs/known model=path/to/model method=me+gd --out runs/first",
    )
)
def probe(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder that is made; new or empty.", show_default=False)
    ],
    words: Words = None,
    as_json: Json = False,
) -> None:
    """Find what a model really knows, and make the real-world scenario of it.

    It knows an answer when it says the key fact and holds the right answer likelier than every wrong one. Without
    QUESTIONS, it is asked well-known facts that come with efface. Two in three of the entities that it knows are to be
    forgotten and kept, the others to be scored.
    """
    from efface.config.commands import ProbeConfig
    from efface.config.parse import validate_config

    config = validate_config(ProbeConfig, _settings(words, ProbeConfig))
    with interruptible("nothing was written; the same command starts anew"):
        from rich.console import Console

        from efface.commands.probe import check_new_folder, to_json_text, write_probe
        from efface.commands.probe import probe as ask
        from efface.progress.console import ConsoleReporter

        check_new_folder(out)
        with ConsoleReporter(Console(stderr=as_json)) as reporter:
            found = ask(config, reporter=reporter)
        if as_json:
            typer.echo(to_json_text(found.report))
        else:
            _print_counts(Console(), found.report)
        write_probe(found, out)
    if not as_json:
        typer.echo(_what_next(found.report, out, [word for word in words or () if word.startswith(_SHARED)]))


def _settings(words: list[str] | None, kind: type[Any]) -> dict[str, Any]:
    """What the words on the command line set: a file of questions comes first, if there is one."""
    from efface.config.parse import merge_settings, parse_pairs

    source, pairs = source_and_pairs(words)
    first = {} if source is None else {"questions": {"path": source}}
    return merge_settings(first, parse_pairs(pairs, kind))


def _print_counts(console: Any, report: Report) -> None:
    """A line for each kind of entity, and one for all."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from efface.report.sanitize import one_line

    table = Table(box=box.SIMPLE, title=Text(f"What {one_line(report.model)} knows"), title_justify="left")
    table.add_column("")
    for name in ("Ques-\ntions", "Says\nthe fact", "Prefers\nthe right\nanswer", "Both", "Enti-\nties", "Known"):
        table.add_column(name, justify="right")
    kinds = {kind or "(no kind)": each for kind, each in report.kinds.items()} if len(report.kinds) > 1 else {}
    for name, each in (kinds | {"all": report.total}).items():
        table.add_row(Text(one_line(name)), *(f"{value:,}" for value in each.model_dump().values()))
    console.print(table)


def _what_next(report: Report, out: Path, pairs: list[str]) -> str:
    """What was made, and the command that takes it, with `pairs`."""
    parts = report.split.model_dump() if report.split else {}
    forget, keep, score = (len(names) for names in parts.values())
    words = ["efface", "run", "real-world", "--data-dir", str(out), f"model={report.model}", *pairs, "method=me+gd"]
    return (
        f"data: {out} ({forget:,} entities to forget, {keep:,} to keep, {score:,} to score)\n"
        f"report: {out / 'probe.json'}\nnext: {shlex.join([*words, '--out', f'{out}-run'])}"
    )
