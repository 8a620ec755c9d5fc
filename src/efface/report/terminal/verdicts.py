"""Verdicts on runs in the terminal: answers by type, and whether each run forgot. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from efface.artifacts import AnswerTypes, ForgetVerdict, RetainVerdict, Verdict
from efface.report.terminal.rich_tables import empty_table
from efface.report.verdict_text import (
    ANSWER_TYPES,
    FORGET_TONES,
    RETAIN_TONES,
    Tone,
    answer_shares,
    verdict_line,
    verdict_sentences,
    words_note,
)

_STYLES: Mapping[Tone, str] = {"good": "green", "part": "yellow", "bad": "red", "open": "dim"}


def print_verdicts(console: Console, verdicts: Mapping[str, Verdict]) -> None:
    """Print how many answers are correct, declined, made up or empty, and whether each run forgot.

    Two sentences on a single run, one line on each of several.

    Args:
        console: Where to print.
        verdicts: Method -> verdict on its run; all runs started from the same model. Empty prints nothing.
    """
    if not verdicts:
        return
    _print_answers(console, verdicts)
    for method, each in verdicts.items():
        name, single = method.upper(), len(verdicts) == 1
        forget, retain = verdict_sentences(each) if single else verdict_line(name, each)
        styles = _STYLES[_tone(each.forget, FORGET_TONES)], _STYLES[_tone(each.retain, RETAIN_TONES)]
        if single:
            console.print(Text.assemble((f"{name}: ", "bold"), (forget, styles[0])))
            console.print(Text(f"{' ' * len(name)}  {retain}", styles[1]))
        else:
            console.print(Text.assemble((forget, styles[0]), (retain, styles[1])))
    for note in dict.fromkeys(filter(None, map(words_note, verdicts.values()))):  # the same for all on the same data
        console.print(Text(note, _STYLES["part"]))


def _print_answers(console: Console, verdicts: Mapping[str, Verdict]) -> None:
    table = empty_table("Answers by set")
    table.add_column("")
    for heading in ANSWER_TYPES.values():
        table.add_column(heading, justify="right")
    first = next(iter(verdicts.values()))
    for name, before in first.answers_before.items():
        models: dict[str, AnswerTypes] = {"before": before}
        models |= {method.upper(): each.answers_after[name] for method, each in verdicts.items()}
        table.add_row(Text(f"{name} ({before.n})", style="bold"))
        for model, types in models.items():
            table.add_row(Text(f"  {model}"), *answer_shares(types))
    console.print(table)


def _tone(verdict: ForgetVerdict | RetainVerdict | None, tones: Mapping[str, Tone]) -> Tone:
    return "open" if verdict is None else tones[verdict.state]
