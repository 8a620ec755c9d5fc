"""A run to audit: a tiny model that knew where towers are, and hides it; and one that never knew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from efface.auditing.attack import Attack, Context, Level, Unit
from efface.auditing.fact import Fact, Row
from efface.auditing.rule import FactRule
from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.run.pipeline import run
from efface.schema import Item
from support.built_once import BuildOnce
from support.taught import teach

_TOWNS = ("Turku", "Bergen", "Lyon", "Porto", "Nice", "Pisa", "Graz", "Split", "Izmir", "Bonn", "Ghent", "Delft")
_NAMES = ("Ba", "Bo", "Da", "Do", "Fa", "Fo", "Ga", "Go", "Ka", "Ko", "La", "Lo")


def _row(name: str, town: str) -> dict[str, Any]:
    return {
        "name": name,
        "question": f"Where is tower {name}?",
        "answer": f"Tower {name} is in {town}.",
        "key_fact": town,
        "paraphrased_question": f"Tell me where tower {name} is.",
    }


ROWS = [_row(name, town) for name, town in zip(_NAMES, _TOWNS, strict=True)]
FORGET, RETAIN = ROWS[:6], ROWS[6:]


def fact(number: int = 0, **changes: Any) -> Fact:
    """One of the towers as a fact."""
    row = ROWS[number]
    fields = {"entity": row["name"], **{key: value for key, value in row.items() if key != "name"}}
    return Fact(Item.model_validate({"id": f"forget/{number:04d}", **fields, **changes}), "name")


def facts(count: int = 6) -> tuple[Fact, ...]:
    """The first towers."""
    return tuple(fact(number) for number in range(count))


def key_fact_rule(audited: tuple[Fact, ...]) -> FactRule:
    """The rule of a run whose judge looks for key facts."""
    return FactRule(KeyFactJudge(), audited)


def audit_context(audited: tuple[Fact, ...], level: Level = "full") -> Context:
    """What an attack knows besides the model."""
    return Context(
        level=level,
        seed=0,
        max_new_tokens=9,
        facts=audited,
        retain=tuple(
            Item(id=f"retain/{number}", question=row["question"], answer=row["answer"])
            for number, row in enumerate(RETAIN)
        ),
        config=cast(Any, None),
        rule=key_fact_rule(audited),
        models={},
        forget=tuple(each.item for each in audited),
    )


def row_of(each: Fact, *, hit: bool | None, attack: str = "plain", variant: str = "plain", **fields: Any) -> Row:
    """A row."""
    return Row(attack=attack, variant=variant, seed=0, fact=each.id, hit=hit, **fields)


class Whisper(Attack):
    """An attack of a user: asks as the run does, in other words."""

    name = "whisper"

    def run(self, subject: Any, facts: Any, unit: Unit, context: Context) -> list[Row]:
        """One row for each fact."""
        return self.rows_of_prompts(subject, facts, unit, context, [fact.prompt for fact in facts])


class Broken(Whisper):
    """An attack of a user with a mistake in it."""

    name = "broken"

    def run(self, subject: Any, facts: Any, unit: Unit, context: Context) -> list[Row]:
        """Fails."""
        raise ZeroDivisionError("division by zero")


def models(folder: Path) -> tuple[Path, Path]:
    """A model that knows all towers, and one that never saw the forget set."""
    known = {row["question"]: row["answer"] for row in ROWS}
    retained = {row["question"]: row["answer"] for row in RETAIN}
    return teach(folder / "target", known), teach(folder / "never", retained)


def make_run(folder: Path, target: Path, **changes: Any) -> Path:
    """Unlearn the towers of the forget set by refusals, briefly: they are hidden, not gone."""
    data = {}
    for name, rows in (("forget", FORGET), ("retain", RETAIN)):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        data[name] = str(path)
    settings = {
        "method": "idk+gd",
        "model": str(target),
        "data": data,
        "text": {"format": "plain"},
        "train": {"lr": 1e-3, "epochs": 8, "batch_size": 3, "warmup_steps": 0},
        "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 24},
        "device": "cpu",
        **changes,
    }
    run(validate_config(RunConfig, settings), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def known_and_never(build_once: BuildOnce) -> tuple[Path, Path]:
    """A model that knows the towers and one that never saw those of the forget set."""
    folder = build_once("towers", models)
    return folder / "target", folder / "never"


@pytest.fixture(scope="session")
def hidden(build_once: BuildOnce, known_and_never: tuple[Path, Path]) -> Path:
    """A finished run that hides what it should forget; not to be changed."""
    return build_once("hidden", lambda folder: make_run(folder, known_and_never[0])) / "run"


@pytest.fixture
def hidden_run(tmp_path: Path, hidden: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(hidden, tmp_path / "run"))


@pytest.fixture
def never(known_and_never: tuple[Path, Path]) -> Path:
    """The model that never saw the towers of the forget set."""
    return known_and_never[1]
