"""The text of one optimizer step: forget items, each with a retain item, a refusal and a mismatched answer."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from efface.data import DataConfig, load_task
from efface.errors import EffaceError
from efface.objectives.terms import View
from efface.schema import Item, Prompt, Task
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import TrainingExample

_SEED = 0
_FORMAT = "llama2"
_END = "</s>"
_VOCABULARY_SIZES = {"tofu": 5120, "synthetic-authors": 1792}
"""Source -> vocabulary size that gives about 58 tokens per question and answer, as Llama's tokenizers on TOFU."""
_SPLITS = {40: "forget01", 200: "forget05", 400: "forget10"}
"""Items to forget -> TOFU's split."""


@dataclass(frozen=True)
class Workload:
    """The input of one step."""

    examples: tuple[TrainingExample, ...]
    source: str
    mean_tokens: float
    """Average of a question and its correct answer, chat format and end of sequence included."""
    longest: int
    """Tokens of the longest sequence of any view."""
    largest_id: int


def load_workload(views: Sequence[View], *, items: int, tokenizer: Path | None) -> Workload:
    """Draw `items` forget items and their retain items, the same ones in every call.

    The text is TOFU (forget10, task 1) if it is in EFFACE_DATA or EFFACE_SHARED/data, else synthetic authors.

    Args:
        views: The views that the objective reads.
        items: Number of forget items.
        tokenizer: A local folder; default: a byte-level BPE trained on the text, since only lengths matter here.

    Raises:
        EffaceError: There are fewer items, or the tokenizer cannot be used.
    """
    task, source = load_text()
    if items > len(task.forget):
        raise EffaceError(f"--items {items} is more than the {len(task.forget)} items of the forget set; use fewer")
    formatter = formatter_for(task, source, tokenizer)
    rows = _draw(task, items)
    encoded: dict[View, list[TokenizedSequence]] = {view: formatter.encode(rows[view]) for view in rows}
    lengths = [len(item) for item in (*encoded["forget"], *encoded["retain"])]
    sequences = [item for view in views for item in encoded[view]]
    return Workload(
        examples=tuple({view: encoded[view][index] for view in views} for index in range(items)),
        source=f"{task.name}, {tokenizer or 'a BPE trained on it'}",
        mean_tokens=round(mean(lengths), 1),
        longest=max(len(item) for item in sequences),
        largest_id=max(max(*item.prompt, *item.answer) for item in sequences),
    )


def load_text(items: int = 400) -> tuple[Task, str]:
    """A task with a forget set of 40, 200 or 400 items, and its source: `tofu` or `synthetic-authors`."""
    shared = Path(os.environ.get("EFFACE_SHARED", Path(__file__).parents[2] / "shared"))
    folder = Path(os.environ.get("EFFACE_DATA", shared / "data"))
    if (folder / "tofu").is_dir():
        return load_task(DataConfig(source="tofu", split=_SPLITS[items]), data_dir=folder), "tofu"
    authors = DataConfig(source="synthetic-authors", authors=200, forget_authors=items // 20)
    return load_task(authors, data_dir=None), "synthetic-authors"


def formatter_for(task: Task, source: str, tokenizer: Path | None = None) -> PromptFormatter:
    """The formatter that tokenizes the text of `load_text`."""
    loads = tokenizer is not None
    chosen = _load_tokenizer(tokenizer) if loads else train_tokenizer(task, _VOCABULARY_SIZES[source])
    return PromptFormatter(chosen, TextConfig(format=_FORMAT))


def _draw(task: Task, items: int) -> dict[View, list[tuple[str, Prompt, str]]]:
    """(id, prompt, answer) of every view, in the same order of items."""
    chance = random.Random(_SEED)
    forget = chance.sample(task.forget, items)
    retain = chance.sample(task.retain, items)
    refusals = chance.choices(task.refusals, k=2 * items)
    mismatched = [item.answer for item in chance.sample(task.retain, items)]
    return {
        "forget": _rows(forget, [item.answer for item in forget]),
        "forget_idk": _rows(forget, refusals[:items]),
        "retain": _rows(retain, [item.answer for item in retain]),
        "retain_idk": _rows(retain, refusals[items:]),
        "forget_mismatch": _rows(forget, mismatched),
        "forget_alternate": _rows(forget, mismatched),  # the step's cost depends on its length alone
    }


def _rows(items: Sequence[Item], answers: Sequence[str]) -> list[tuple[str, Prompt, str]]:
    return [(item.id, item.prompt, answer) for item, answer in zip(items, answers, strict=True)]


def train_tokenizer(task: Task, vocabulary: int) -> Any:
    """A byte-level BPE trained on the questions and answers of a task."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"[INST] {item.question} [/INST]{item.answer}" for item in (*task.forget, *task.retain)]
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=_END)


def _load_tokenizer(folder: Path | None) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise EffaceError(f"no tokenizer in {folder}; give a folder with tokenizer.json") from error
