"""Two small models that answer the same questions, and the folder of a run that left the second."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.artifacts import Manifest, Record
from efface.chat.session import Chat
from efface.chat.suggestions import SuggestedQuestion
from efface.config.commands import RunConfig
from efface.models.folder import model_sha256
from efface.run.folder import RunFolder
from efface.schema import Prompt, Turn
from efface.text.formatter import PromptFormatter, TextConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "model"
HISTORY = (Turn(role="user", content="Hello."), Turn(role="assistant", content="Hello!"))
PRESETS = (
    SuggestedQuestion("forget", Prompt("Who wrote it?"), "Ada did."),
    SuggestedQuestion("retain", Prompt("Where is Turku?", HISTORY), "In Finland."),
    SuggestedQuestion("beyond", Prompt("Once upon a", passage=True), None),
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
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def other(model: Any) -> Any:
    """A model that says something else."""
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    for parameter in changed.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return changed


@pytest.fixture
def formatter(model: Any) -> PromptFormatter:
    from transformers import AutoTokenizer

    return PromptFormatter(AutoTokenizer.from_pretrained(GOLDEN), TextConfig(format="plain"), limit=512)


@pytest.fixture
def talking(model: Any, other: Any) -> Chat:
    """In a chat template, with three presets."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(GOLDEN)
    tokenizer.chat_template = TEMPLATE
    formatter = PromptFormatter(tokenizer, TextConfig(), limit=512)
    return Chat({"before": model, "after": other}, formatter, PRESETS, keeps_turns=True)


@pytest.fixture
def run_folder(tmp_path: Path, other: Any) -> Path:
    """Of a run that was stopped once it had left a model."""
    config = RunConfig.model_validate(
        {
            "method": "me+gd",
            "model": str(GOLDEN),
            "data": {"source": "synthetic-authors", "authors": 3, "forget_authors": 1, "retain_evaluation": 3},
            "text": {"format": "plain"},
            "evaluate": {"max_new_tokens": 5},
        }
    )
    manifest = Manifest(
        efface="0",
        commit=None,
        command=[],
        seed=0,
        device="cpu",
        precision="float32",
        versions={},
        data={},
        model=str(GOLDEN),
        model_sha256=model_sha256(GOLDEN),
        started="2026-01-01T00:00:00+00:00",
    )
    folder = RunFolder(tmp_path / "run")
    folder.start(config, manifest)
    shutil.copytree(GOLDEN, folder.model)
    other.save_pretrained(folder.model)
    return folder.root


@pytest.fixture
def record() -> Callable[[str, int], Record]:
    """What a model said to a question of a set."""

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
