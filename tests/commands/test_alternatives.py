"""Other answers that a model makes up: drawn from seeds, distinct, and usable as a forget set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.commands import alternatives as module
from efface.commands.alternatives import draw_alternatives, write_alternatives
from efface.config.data_commands import AlternativesConfig, AlternativesGenerationConfig
from efface.data import load_task
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.models.open import OpenedModel, open_model
from efface.schema import Item
from efface.text.config import TextConfig
from support.runs import Told
from support.taught import KNOWN, asking

MODEL = Path(__file__).parents[1] / "golden" / "model"


def opened() -> OpenedModel:
    return open_model(
        str(MODEL), TextConfig(format="plain"), tokenizer=None, device=torch.device("cpu"), reporter=Told()
    )


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """Settings for asking `KNOWN`, or other rows."""

    def make(rows: Any = KNOWN[:2], **changes: Any) -> AlternativesConfig:
        return asking(AlternativesConfig, MODEL, rows, tmp_path, **{"evaluate": {"count": 3}, **changes})

    return make


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces what is drawn by these texts, three for each question."""

    def stub(*texts: str) -> None:
        def drawn(model: Any, prompts: Any, draws: Any, stop_ids: Any, **_: Any) -> list[list[int]]:
            return [stub.tokenizer(text, add_special_tokens=False).input_ids for text in texts]  # type: ignore[attr-defined]

        monkeypatch.setattr(module, "sample", drawn)

    stub.tokenizer = opened().tokenizer  # type: ignore[attr-defined]
    return stub


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_other_answers_become_a_forget_set(config: Any, says: Any, tmp_path: Path) -> None:
    right = str(KNOWN[0]["answer"])
    says(" It is in Oslo. ", f" {right.upper()} ", "New answer: In Rome.", "Graz.", "", "Graz.")
    told, out = Told(), tmp_path / "new" / "made.jsonl"
    done = write_alternatives(config(evaluate={"count": 3, "max_new_tokens": 90}), out, reporter=told)
    assert (done.questions, done.alternatives, done.without) == (2, 3, ())
    first, second = rows_in(out)
    assert first["alternate_answers"] == ["It is in Oslo.", "In Rome."]
    assert second["alternate_answers"] == ["Graz."]
    assert (first["answer"], first["kind"]) == (right, "towers")
    task = load_task(DataConfig(source="files", forget=str(out)), data_dir=None)
    assert task.forget[0].alternate_answers == ("It is in Oslo.", "In Rome.")
    assert told.stages[-1].endswith("2 questions")


def test_questions_without_another_answer_are_left_out(config: Any, says: Any, tmp_path: Path) -> None:
    says("Graz.", "", "", "", "", "")
    done = write_alternatives(config(evaluate={"count": 3, "max_new_tokens": 90}), tmp_path / "made.jsonl")
    assert done.without == (KNOWN[1]["question"],)
    says(*[""] * 6)
    with pytest.raises(EffaceError, match=r"makes up no other answer to any of the 2 questions; use a model"):
        write_alternatives(config(), tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_draws_depend_on_the_seed_and_the_question_alone() -> None:
    model = opened()
    settings = AlternativesGenerationConfig(count=2, max_new_tokens=6)
    items = [Item(id=str(n), question=f"Who lives in house {n}?", answer="Ada.") for n in range(2)]
    both = draw_alternatives(model, items, settings, seed=0)
    assert draw_alternatives(model, items[1:], settings, seed=0) == both[1:]
    assert draw_alternatives(model, items, settings, seed=1) != both
    assert all(len(each) == 2 for each in both)


def test_nothing_is_overwritten(config: Any, tmp_path: Path) -> None:
    out = tmp_path / "made.jsonl"
    out.write_text("mine")
    with pytest.raises(EffaceError, match="already exists"):
        write_alternatives(config(), out)
