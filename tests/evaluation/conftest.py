"""A small model with its tokenizer, and a random NLI model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

_GOLDEN = Path(__file__).parents[1] / "golden" / "model"


@pytest.fixture
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(_GOLDEN, dtype=torch.float32)


@pytest.fixture
def formatter() -> PromptFormatter:
    from transformers import AutoTokenizer

    return PromptFormatter(AutoTokenizer.from_pretrained(_GOLDEN), TextConfig(format="plain"))


def _save_classifier(folder: Path, labels: list[str]) -> Path:
    """A random BERT classifier whose labels depend on both texts and on their order."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
    backend = Tokenizer(models.WordLevel({word: id_ for id_, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(
            BertConfig(
                vocab_size=len(words),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=32,
                initializer_range=0.5,
                id2label=dict(enumerate(labels)),
                label2id={label: id_ for id_, label in enumerate(labels)},
            )
        ).save_pretrained(folder)
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Callable[[list[str]], Path]:
    """Saves a random classifier with the given labels and returns its folder."""
    return lambda labels: _save_classifier(tmp_path / "classifier", labels)
