from __future__ import annotations

from pathlib import Path

from efface.data.sources.benchmarks.real_world import load_real_world, load_real_world_training_set


def test_each_set_is_about_twenty_people(shared: Path) -> None:
    task = load_real_world(shared / "data" / "real_world")
    forget, neighbor = task.evaluation
    assert [(s.name, len(s.items), s.entailment_premise) for s in task.evaluation] == [
        ("forget", 400, "output"),
        ("neighbor", 400, "output"),
    ]
    people = [{item.entity for item in items} for items in (task.forget, task.retain, neighbor.items)]
    assert [len(group) for group in people] == [20, 20, 20]
    assert not people[0] & people[1]
    assert not people[1] & people[2], "the scored neighbors are not in the retain set"
    assert [item.question for item in forget.items] == [item.question for item in task.forget]
    assert task.warnings == ()
    assert len(task.sources) == 4


def test_the_golden_answer_is_scored(shared: Path) -> None:
    task = load_real_world(shared / "data" / "real_world")
    item = task.retain[0]
    assert item.answer == "Dave Grohl's full name is David Eric Grohl."
    assert item.scored_answer == "David Eric Grohl."
    assert item.embedding_target == item.answer


def test_the_training_set_is_forget_and_retain_set(shared: Path) -> None:
    assert len(load_real_world_training_set(shared / "data" / "real_world")) == 800
