"""Tiny models under attack, without a run: one that knows the facts, and one that never saw them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch

from efface.auditing.attack import Attack, Context, HitVerdict, Level, ModelName
from efface.auditing.fact import Fact, Row
from efface.auditing.subject import Subject
from efface.evaluation.config import EvaluateConfig
from efface.schema import Item
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

GOLDEN = Path(__file__).parents[1] / "golden"
TOWNS = {"A": "Turku", "B": "Bergen", "C": "Lyon", "D": "Porto", "E": "Graz", "F": "Split"}
RETAIN = (
    Item(id="retain/1", question="Who sails ship K?", answer="Ada sails ship K."),
    Item(id="retain/2", question="Who sails ship L?", answer="Ben sails ship L."),
)


def facts(count: int = len(TOWNS), **fields: Any) -> list[Fact]:
    """Facts about towers: a question, its answer, the town as key fact."""
    names = list(TOWNS.items())[:count]
    items = [
        Item(
            id=f"forget/{name}",
            question=f"Where is tower {name}?",
            answer=f"Tower {name} is in {town}.",
            paraphrased_question=f"In which town is tower {name}?",
            perturbed_answers=(f"Tower {name} is in Izmir.",),
            key_fact=town,
            entity=f"tower {name}",
        ).model_copy(update=fields)
        for name, town in names
    ]
    return [Fact(item, "name") for item in items]


@dataclass
class InMemory:
    """A model that attacks read and open."""

    subject: Subject

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All weights."""
        yield from ((name, each.detach()) for name, each in self.subject.model.named_parameters())

    def tensor(self, name: str) -> torch.Tensor:
        """One weight."""
        return dict(self.tensors())[name]

    @contextmanager
    def opened(self) -> Iterator[Subject]:
        """The model itself."""
        yield self.subject


class KeyFactRule:
    """A fact came back if the output has its key fact and nothing shown has it."""

    def judge(
        self, facts: Sequence[Fact], outputs: Sequence[str], shown: Sequence[str], targets: Sequence[str] | None = None
    ) -> list[HitVerdict]:
        """As `efface.auditing.attack.Rule`."""
        del targets
        found = []
        for fact, output, text in zip(facts, outputs, shown, strict=True):
            echo = str(fact.key_fact) in text
            found.append(HitVerdict(None if echo else str(fact.key_fact) in output, echo, ()))
        return found


def load(folder: str = "model", dtype: torch.dtype = torch.float32) -> Any:
    """One of the two models of the golden numbers, with random weights: `model` or `reference`."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(GOLDEN / folder, dtype=dtype).eval()


def subject(model: Any, name: ModelName = "after", **evaluate: Any) -> Subject:
    """A model under attack, in the plain format."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "model")
    return Subject(name, model, PromptFormatter(tokenizer, TextConfig(format="plain")), EvaluateConfig(**evaluate))


def context(
    audited: Sequence[Fact],
    models: Mapping[ModelName, Subject],
    *,
    level: Level = "full",
    retain: Sequence[Item] = RETAIN,
    rows: Mapping[ModelName, Sequence[Row]] | None = None,
) -> Context:
    """What an attack knows besides; `models` are all that are available."""
    return Context(
        level=level,
        seed=0,
        max_new_tokens=20,
        facts=tuple(audited),
        retain=tuple(retain),
        forget=tuple(fact.item for fact in audited),
        config=cast(Any, None),
        rule=KeyFactRule(),
        models={name: InMemory(each) for name, each in models.items()},
        rows=rows or {},
    )


@cache
def _taught(*, towns: bool) -> Any:
    from transformers import AutoModelForCausalLM

    from support.taught import teach

    known = {fact.question: fact.answer for fact in facts()} if towns else {}
    with TemporaryDirectory() as folder:
        teach(Path(folder), {**known, **{item.question: item.answer for item in RETAIN}})
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def knowing() -> Any:
    """A model that says where all towers are, and who sails the ships of `RETAIN`; each call gives another copy."""
    return copy.deepcopy(_taught(towns=True))


def not_knowing() -> Any:
    """The same without the towers, which it never saw."""
    return copy.deepcopy(_taught(towns=False))


def run_on_all(
    attack: Attack, subjects: Mapping[ModelName, Subject], level: Level = "full"
) -> dict[ModelName, list[Row]]:
    """All rows of an attack by model, as an audit makes them."""
    asked = facts()
    around = context(asked, subjects, level=level)
    return {
        name: [row for unit in attack.units(level) for row in attack.run(each, asked, unit, around)]
        for name, each in subjects.items()
    }
