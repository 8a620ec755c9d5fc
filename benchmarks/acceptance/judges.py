"""Models that judge outputs, with random weights in the usual sizes: the time of judging does not depend on weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

_LABELS = {0: "entailment", 1: "neutral", 2: "contradiction"}
_EMBEDDER_VOCABULARY, _JUDGE_VOCABULARY = 30522, 128100
_POSITIONS = 512


def write_embedder(folder: Path, tokenizer: Any, sizes: Mapping[str, int]) -> None:
    """Write a BERT whose token vectors are averaged, in the files of sentence-transformers.

    Args:
        folder: A new folder.
        tokenizer: Any, of fewer tokens than the model's vocabulary has.
        sizes: Of `BertConfig`.
    """
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**sizes, vocab_size=_EMBEDDER_VOCABULARY, max_position_embeddings=_POSITIONS)).save_pretrained(
        folder
    )
    _padding(tokenizer).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": sizes["hidden_size"], "pooling_mode_mean_tokens": True}
    for name, content in {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 128, "do_lower_case": False},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def write_judge(folder: Path, tokenizer: Any, sizes: Mapping[str, int]) -> None:
    """Write a DeBERTa v3 for natural-language inference.

    Args:
        folder: A new folder.
        tokenizer: Any, of fewer tokens than the model's vocabulary has.
        sizes: Of `DebertaV2Config`.
    """
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    config = DebertaV2Config(
        **sizes,
        vocab_size=_JUDGE_VOCABULARY,
        max_position_embeddings=_POSITIONS,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        id2label=_LABELS,
        label2id={label: number for number, label in _LABELS.items()},
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    _padding(tokenizer).save_pretrained(folder)


def _padding(tokenizer: Any) -> Any:
    """A copy that pads batches and truncates long texts."""
    copy = deepcopy(tokenizer)
    copy.pad_token, copy.model_max_length = copy.eos_token, _POSITIONS
    return copy
