"""`efface data alternatives`: other answers to questions, which a model makes up, as a forget set for AltPO."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from efface.commands.answers import check_new_file, report_warnings
from efface.config.data_commands import AlternativesConfig, AlternativesGenerationConfig
from efface.data.question_files import FileQuestion, alternatives_to_json_lines, load_questions
from efface.data.sources.generic_questions import truncate_to_sentence
from efface.errors import EffaceError
from efface.evaluation.decoding.sampled_decoder import Draw, sample
from efface.evaluation.encode import check_position_limit
from efface.files.atomic import write_text
from efface.files.folder_lock import lock_output
from efface.hardware.device import device_for
from efface.models.open import OpenedModel, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.report.number_format import pluralize
from efface.schema import Item, Prompt

INSTRUCTION = (
    "Here is a question with its answer. Write another answer to the same question, of the same length and style, in "
    "which the facts are different but plausible. Reply with the new answer alone."
)
"""What the model is asked to do; arXiv:2409.13474 asks for an alternate answer in the same way."""
_LABEL = re.compile(r"(new |other |another |alternat(iv)?e )?answer\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class AlternativesReport:
    """How many other answers were made up."""

    questions: int
    """Those that have one."""
    alternatives: int
    without: tuple[str, ...]
    """The questions without any, which were left out."""


@quiet_libraries()
def write_alternatives(
    config: AlternativesConfig, out: Path, *, reporter: Reporter | None = None
) -> AlternativesReport:
    """Draw other answers to every question of a file, and write `out`: the same questions with both.

    Everything that can be refused is refused before the model generates.

    Args:
        config: The questions with their answers, the model and settings of generation.
        out: A new file that ends in .jsonl.
        reporter: Gets stages and warnings.

    Returns:
        How many there are, and which questions were left out.

    Raises:
        EffaceError: The file, settings or the model cannot be used, no question has another answer, or another process
            writes the file.
    """
    reporter = reporter or SilentReporter()
    with lock_output(out):
        check_new_file(out)
        questions = load_questions(config.questions)
        report_warnings(questions, reporter)
        opened = open_model(
            config.model, config.text, tokenizer=config.tokenizer, device=device_for(config.device), reporter=reporter
        )
        items = [each.item for each in questions.questions]
        reporter.on_stage(f"asking {config.model} for other answers to {pluralize(len(items), 'question')}")
        texts = draw_alternatives(opened, items, config.evaluate, seed=config.seed)
        made = [_with_alternates(each, found) for each, found in zip(questions.questions, texts, strict=True) if found]
        if not made:
            raise EffaceError(
                f"model {config.model} makes up no other answer to any of the {len(items):,} questions; use a model "
                "that follows instructions, or raise evaluate.temperature"
            )
        write_text(out, alternatives_to_json_lines(made))
    return AlternativesReport(
        questions=len(made),
        alternatives=sum(map(len, texts)),
        without=tuple(item.question for item, found in zip(items, texts, strict=True) if not found),
    )


def draw_alternatives(
    opened: OpenedModel, items: Sequence[Item], config: AlternativesGenerationConfig, *, seed: int
) -> list[tuple[str, ...]]:
    """Draw other answers from a model.

    Args:
        opened: The model.
        items: Questions with their answers.
        config: How many, how random and how long.
        seed: Of the draws; those of an item do not depend on the other items.

    Returns:
        For each item, the distinct answers that are neither blank nor its own, in the order in which they were drawn.

    Raises:
        EffaceError: A question leaves no space for an answer.
    """
    formatter = opened.formatter
    prompts = formatter.encode_prompts([_prompt(item) for item in items])
    check_position_limit(opened.model, prompts, config.max_new_tokens)
    draws = [Draw(index, f"{seed}/{item.id}/{n}") for index, item in enumerate(items) for n in range(config.count)]
    outputs = sample(
        opened.model,
        prompts,
        draws,
        formatter.stop_ids,
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        max_cache_tokens=config.max_cache_tokens,
    )
    found: list[dict[str, None]] = [{} for _ in items]
    for draw, ids in zip(draws, outputs, strict=True):
        text = str(formatter.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        text = _answer_in(text if len(ids) < config.max_new_tokens else truncate_to_sentence(text))
        if text and text.casefold() != items[draw.prompt].answer.strip().casefold():
            found[draw.prompt].setdefault(text)
    return [tuple(each) for each in found]


def _prompt(item: Item) -> Prompt:
    return Prompt(f"{INSTRUCTION}\n\nQuestion: {item.question}\nAnswer: {item.answer}", item.history)


def _answer_in(text: str) -> str:
    """An output without a label before it."""
    text = text.strip()
    label = _LABEL.match(text)
    return text[label.end() :].strip() if label else text


def _with_alternates(question: FileQuestion, alternates: tuple[str, ...]) -> FileQuestion:
    return replace(question, item=question.item.model_copy(update={"alternate_answers": alternates}))
