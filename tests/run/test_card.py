"""The model card: front matter that the hub reads, scores, hashes and settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from efface.run.card import write_card
from efface.run.config import RunConfig, validated


@pytest.fixture
def card(tmp_path, settings, made, results):
    config = validated(RunConfig, settings)

    def write(value=0.875):
        write_card(tmp_path, config, made, results(value))
        assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
        return (tmp_path / "README.md").read_text(encoding="utf-8")

    write.config = config
    return write


def test_front_matter(card):
    _, head, body = card().split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["library_name"] == "transformers"
    assert found["pipeline_tag"] == "text-generation"
    assert "machine-unlearning" in found["tags"]
    assert body.lstrip().startswith("# Unlearned with me+gd\n")


@pytest.mark.parametrize(
    ("model", "base"), [("some/model", "some/model"), ("some/model@v2", "some/model"), ("/home/ada/model", None)]
)
def test_the_card_names_the_hub_model_that_it_was_made_of(tmp_path, card, made, model, base):
    write_card(tmp_path, card.config, made.model_copy(update={"model": model}), None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---\n", 2)[1]).get("base_model") == base
    assert "This model was not evaluated." in text


def test_no_folder_of_this_machine_stands_in_the_card(tmp_path, settings, made):
    data = {"forget": "/home/ada/request/forget.jsonl", "retain": "kept/retain.csv"}
    config = validated(RunConfig, settings | {"data": data, "model": "/home/ada/model"})
    names = ("/home/ada/request/forget.jsonl", "/home/bob/forget.jsonl", "kept/retain.csv")
    files = {name: digit * 64 for name, digit in zip(names, "abc", strict=True)}
    write_card(tmp_path, config, made.model_copy(update={"model": "/home/ada/model", "data": files}), None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "/home" not in text
    for name, digest in (("forget.jsonl", "a"), ("forget.jsonl", "b"), ("kept/retain.csv", "c")):
        assert f"- {name}: `{digest * 64}`" in text
    assert "path: forget.jsonl" in text


def test_scores_before_and_after(card):
    text = card()
    assert "Definition `paper`; embeddings: none; judge: key-facts." in text
    assert "| model utility | 0.2500 | 0.8750 |" in text
    assert "| model utility (retain) | 0.2500 | 0.8750 |" in text
    assert "| forget efficacy | 0.2500 | 0.8750 |" in text
    assert "| forget (7) |" + " 0.8750 |" * 6 in text
    assert "| retain (7) |" + " 0.8750 |" * 6 in text
    assert "Missing" not in text


def test_what_could_not_be_had_is_said(card):
    text = card(None)
    assert "| model utility | 0.2500 | missing |" in text
    assert "Missing: cosine_similarity (no embedder | here)." in text


def test_hashes_and_settings(card, made):
    text = card()
    assert f"`{made.model}` (sha256 `{made.model_sha256}`)" in text
    assert f"- forget01.json: `{made.data['forget01.json']}`" in text
    block = text.split("```yaml\n")[1].split("```")[0]
    expected = card.config.model_copy(update={"model": Path(card.config.model).name})
    assert validated(RunConfig, yaml.safe_load(block)) == expected
    assert "{{" not in text
    assert "{%" not in text
