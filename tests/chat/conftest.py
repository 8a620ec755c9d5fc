"""Two small models that answer the same questions, and the folder of a run that saved the second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.chat.session import Chat
from efface.chat.suggestions import SuggestedQuestion
from efface.records import Record
from efface.schema import Prompt, Turn
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support.unlearned import GOLDEN, changed_copy, load_golden, write_unlearned_run

HISTORY = (Turn(role="user", content="Hello."), Turn(role="assistant", content="Hello!"))
SUGGESTIONS = (
    SuggestedQuestion("forget", Prompt("Who wrote it?"), "Ada did."),
    SuggestedQuestion("retain", Prompt("Where is Turku?", HISTORY), "In Finland."),
    SuggestedQuestion("general", Prompt("Once upon a", passage=True), None),
)
TEMPLATE = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Any:
    return load_golden()


@pytest.fixture(scope="session")
def changed(model: Any) -> Any:
    return changed_copy(model)


@pytest.fixture
def formatter() -> PromptFormatter:
    from transformers import AutoTokenizer

    return PromptFormatter(AutoTokenizer.from_pretrained(GOLDEN), TextConfig(format="plain"), limit=512)


@pytest.fixture
def chat(model: Any, changed: Any) -> Chat:
    """With a chat template and three suggested questions."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(GOLDEN)
    tokenizer.chat_template = TEMPLATE
    formatter = PromptFormatter(tokenizer, TextConfig(), limit=512)
    return Chat({"before": model, "after": changed}, formatter, SUGGESTIONS, multi_turn=True)


@pytest.fixture
def run_folder(tmp_path: Path, changed: Any) -> Path:
    return write_unlearned_run(tmp_path / "run", changed)


@pytest.fixture
def record() -> Callable[[str, int], Record]:
    """Make a record of a set."""

    def make(name: str, number: int) -> Record:
        return Record(
            set=name,
            id=f"{name}/{number}",
            question=f"{name} question {number}?",
            answer=f"{name} answer {number}",
            output="No.",
            output_token_ids=[1],
            answer_logprobs=[-1.0],
            paraphrased_logprobs=None,
            perturbed_logprobs=[],
            embedding_target="",
            embedder=None,
            cosine_answer=None,
            cosine_before=None,
            entailment_target="",
            entailment_premise="output",
            judge=None,
            entailment_label=None,
        )

    return make
