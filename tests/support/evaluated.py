"""What each of two processes does in `tests/evaluation/test_evaluate.py`: evaluations of a small model."""

from __future__ import annotations

import gc
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.evaluate import evaluate
from efface.evaluation.judging.judges import Judges
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.evaluation.record_files import write_record_sets
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.records import Record, RecordSets
from efface.schema import EvaluationSet, Item
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

MODEL = Path(__file__).parents[1] / "golden" / "model"
PLACES = ("Rome", "Paris", "Oslo", "Lima", "Bern")
BEFORE, AFTER = "before", "after"


def _items(name: str, *, passage: bool = False) -> tuple[Item, ...]:
    return tuple(
        Item(
            id=f"{name}/{number}",
            question="" if passage else f"Where was author {number} of {'many ' * number}books born?",
            answer=f"In {place}, long ago.",
            perturbed_answers=() if passage else tuple(f"In {each}." for each in PLACES if each != place),
            key_fact=place,
            passage=passage,
        )
        for number, place in enumerate(PLACES)
    )


SETS = (
    EvaluationSet(name="forget", entailment_premise="output", items=_items("forget")),
    EvaluationSet(name="texts", entailment_premise="output", items=_items("texts", passage=True), max_new_tokens=0),
    EvaluationSet(name="retain", entailment_premise="output", items=_items("retain"), max_new_tokens=3, stop=("e",)),
)


class Lengths:
    """An embedder whose similarities say which texts were compared."""

    name = "lengths"

    def cosines(self, texts: Sequence[str], *others: Sequence[str]) -> list[list[float]]:
        """The shorter length of each pair over the longer one."""
        return [
            [
                (1 + min(len(one), len(two))) / (1 + max(len(one), len(two)))
                for one, two in zip(texts, each, strict=True)
            ]
            for each in others
        ]


def evaluated(scale: float, *, before: RecordSets | None) -> RecordSets:
    """The records of the model with its layers' weights scaled."""
    model = load_model(MODEL, dtype=torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        for weight in model.model.layers.parameters():
            weight.mul_(scale)
    formatter = PromptFormatter(load_tokenizer(MODEL), TextConfig(format="plain"))
    judges: Any = Judges(Lengths(), KeyFactJudge(), {})  # type: ignore[arg-type]
    return evaluate(model, formatter, SETS, config=EvaluateConfig(max_new_tokens=8), judges=judges, before=before)


def work(folder: Path) -> None:
    """What a process does after it was started: evaluations before and after, and two that are refused."""
    torch.set_num_threads(1)
    distributed.init_process_group("cpu")
    received = _count_received()
    before = evaluated(1.0, before=None)
    after = evaluated(0.9, before=before)
    found = {
        "received": sum(received),
        "records": sum(type(each) is Record for each in gc.get_objects()),
        "sets": [list(before), list(after)],
        "errors": [_error(lambda: evaluated(1.0, before={})), _error(lambda: evaluated(torch.nan, before=None))],
    }
    (folder / f"rank-{distributed.rank()}.json").write_text(json.dumps(found), encoding="utf-8")
    write_record_sets(folder / BEFORE, before)
    write_record_sets(folder / AFTER, after)


def _count_received() -> list[int]:
    """From now on, the bytes of each Python object that this process receives are added to the list."""
    received: list[int] = []

    def counted(exchange: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def receive(value: Any) -> Any:
            found = exchange(value)
            received.append(len(pickle.dumps(found)))
            return found

        return receive

    for name in ("all_gather", "gather", "scatter"):
        setattr(distributed, name, counted(getattr(distributed, name)))
    return received


def _error(evaluation: Callable[[], object]) -> str:
    try:
        evaluation()
    except EffaceError as error:
        return str(error)
    return ""
