"""What earlier requests forgot: scored again, and kept no more; and how many rows that makes of TOFU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.config.continual import request_data
from efface.data import load_task
from efface.data.config import DataConfig, Split
from efface.data.subsets import exclude_items, remaining_retain, retain_evaluation_set
from efface.errors import EffaceError
from efface.schema import Item, Task

Write = Callable[[str, list[dict[str, str]]], str]


def items(*numbers: int) -> tuple[Item, ...]:
    return tuple(Item(id=str(n), question=f"Who is {n}?", answer=f"{n} is a poet.") for n in numbers)


def ids(found: tuple[Item, ...]) -> list[str]:
    return [item.id for item in found]


def sizes(task: Task) -> dict[str, int]:
    return {each.name: len(each.items) for each in task.evaluation}


def texts(found: tuple[Item, ...]) -> set[tuple[str, str]]:
    return {(item.question, item.answer) for item in found}


# TOFU, as published


@pytest.mark.parametrize(
    ("split", "tasks", "size"), [("forget01", 10, 40), ("forget05", 10, 200), ("forget10", 9, 400)]
)
def test_tofu_request_by_request(shared: Path, split: Split, tasks: int, size: int) -> None:
    """The retain set is everything that was not yet forgotten; every set scores up to 300 questions."""
    data = DataConfig(source="tofu", split=split)
    queue = [load_task(each, data_dir=shared / "data") for each in request_data(data, range(1, tasks + 1))]
    everything, gone = texts(queue[0].forget) | texts(queue[0].retain), set[tuple[str, str]]()
    assert len(everything) == 4000
    for done, task in enumerate(queue):
        assert (len(task.forget), len(task.retain)) == (size, 4000 - size * (done + 1))
        assert not texts(task.forget) & gone
        gone |= texts(task.forget)
        assert texts(task.retain) == everything - gone
        assert sizes(task) == {
            "forget": min(size, 300),
            **{f"forgotten-{number}": min(size, 300) for number in range(1, done + 1)},
            "retain": 300,
            "real_authors": 100,
            "world_facts": 117,
        }
        scored = {each.name: each for each in task.evaluation}
        for number, earlier in enumerate(queue[:done], 1):
            again = scored[f"forgotten-{number}"]
            assert again.items == earlier.evaluation[0].items
            assert again.entailment_premise == earlier.evaluation[0].entailment_premise == "output"


def test_tofu_in_another_order(shared: Path) -> None:
    """`forgotten-1` is what the first request forgot, whatever its task is called."""
    data = DataConfig(source="tofu", split="forget01", task=3, forgotten_before=(2, 1))
    task = load_task(data, data_dir=shared / "data")
    first = load_task(DataConfig(source="tofu", split="forget01", task=2), data_dir=shared / "data")
    assert task.evaluation[1].name == "forgotten-1"
    assert task.evaluation[1].items == first.evaluation[0].items
    assert len(task.retain) == 4000 - 3 * 40


# Generated authors


def test_generated_authors_request_by_request() -> None:
    data = DataConfig(source="synthetic-authors", authors=5, forget_authors=2, retain_evaluation=30)
    first, second = (load_task(each, data_dir=None) for each in request_data(data, (1, 2)))
    assert [{item.id[:10] for item in task.forget} for task in (first, second)] == [
        {"author/004", "author/005"},
        {"author/002", "author/003"},
    ]
    assert [len(task.retain) for task in (first, second)] == [60, 20]
    assert {item.id[:10] for item in second.retain} == {"author/001"}
    assert sizes(first) == {"forget": 40, "retain": 30}
    assert sizes(second) == {"forget": 40, "forgotten-1": 40, "retain": 10}
    assert set(second.evaluation[2].items) <= set(first.evaluation[1].items)
    with pytest.raises(ValueError, match="task=3 is not in 5 authors, 2 a task, which has 1 to 2"):
        request_data(data, (1, 2, 3))


def test_nobody_is_left_to_keep() -> None:
    data = DataConfig(source="synthetic-authors", authors=4, forget_authors=2, task=2, forgotten_before=(1,))
    with pytest.raises(
        EffaceError, match=r"synthetic-authors-2-of-4-task2: after 2 request\(s\), nothing is left to keep"
    ):
        load_task(data, data_dir=None)


# Files


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_rows(name: str, rows: list[dict[str, str]]) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write_rows


def facts(*numbers: int) -> list[dict[str, str]]:
    return [{"question": f"Who is {n}?", "answer": f"{n} is a poet."} for n in numbers]


def test_files_request_by_request(write: Write) -> None:
    """What is forgotten stands in the file to keep, too: in other capitals and spaces, it is the same."""
    spaced = [{"question": "who  is 3?", "answer": "3 IS a poet."}]
    requests = [write("one", facts(0, 1)), write("two", [*facts(1, 2), *spaced])]
    settings: dict[str, Any] = {
        "source": "files",
        "retain": write("keep", facts(*range(8))),
        "retain_minus_forget": True,
    }
    first = load_task(DataConfig(**settings, forget=requests[0]), data_dir=None)
    second = load_task(DataConfig(**settings, forget=requests[1], forgotten_before=(requests[0],)), data_dir=None)
    assert texts(first.retain) == texts(items(*range(2, 8)))
    assert texts(second.retain) == texts(items(*range(4, 8)))
    assert sizes(second) == {"forget": 3, "forgotten-1": 2, "retain": 4}
    assert second.evaluation[1].items == first.evaluation[0].items
    assert f"{requests[1]}: 1 item(s) were forgotten by an earlier request" in second.warnings
    assert set(second.sources) == {*requests, settings["retain"]}


def test_without_keep_rest_what_is_forgotten_now_may_not_be_kept(write: Write) -> None:
    one, two, keep = write("one", facts(0)), write("two", facts(1)), write("keep", facts(0, 1, 2))
    data = DataConfig(source="files", forget=two, forgotten_before=(one,), retain=keep)
    with pytest.raises(EffaceError, match="are the same question with the same answer"):
        load_task(data, data_dir=None)


def test_a_file_of_what_was_forgotten_before(write: Write) -> None:
    """Also where several requests together held it, and in another order."""
    one, two, three = write("one", facts(0, 1)), write("two", facts(2)), write("three", facts(2, 0))
    data = DataConfig(source="files", forget=three, forgotten_before=(one, two), retain=write("keep", facts(5)))
    with pytest.raises(EffaceError, match=r"three\.jsonl holds nothing that was not forgotten before; remove this"):
        load_task(data, data_dir=None)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"source": "tofu", "split": "forget01", "task": 2, "forgotten_before": [1, 1]},
            "task 1 is asked to be forgotten twice",
        ),
        (
            {"source": "tofu", "split": "forget01", "task": 2, "forgotten_before": [2]},
            "task 2 is asked to be forgotten twice",
        ),
        (
            {"source": "tofu", "split": "forget10", "forgotten_before": [10]},
            "task=10 is not in forget10, which has 1 to 9",
        ),
        (
            {"source": "tofu", "split": "forget01", "forgotten_before": ["a"]},
            "forgotten_before=a: for source=tofu it is a list of tasks",
        ),
        (
            {"source": "files", "forget": "a", "forgotten_before": [1]},
            "forgotten_before=task 1: for source=files it is a list of files",
        ),
        ({"source": "files", "forget": "a", "forgotten_before": ["a"]}, "a is asked to be forgotten twice"),
        ({"source": "real-world", "forgotten_before": [1]}, "means nothing for source=real-world"),
        (
            {"source": "synthetic-authors", "retain_minus_forget": True},
            "retain_minus_forget=True means nothing for source=synthetic-authors",
        ),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig.model_validate(settings)


# The parts


def test_what_says_something_else_is_left() -> None:
    one, *others = items(1, 2, 3)
    other_answer = one.model_copy(update={"id": "4", "answer": "1 is a smith."})
    assert ids(exclude_items([one, *others, other_answer], [one.model_copy(update={"id": "x"})])) == ["2", "3", "4"]
    assert ids(remaining_retain(items(1, 2, 3, 4), [items(1), items(3, 9)], name="mine")) == ["2", "4"]
    with pytest.raises(EffaceError, match=r"^mine: after 2 request\(s\), nothing is left to keep"):
        remaining_retain(items(1, 2), [items(1), items(2)], name="mine")


def test_the_questions_to_keep_that_are_scored_are_chosen_once() -> None:
    """The first request takes 0 and 1; three of the other eight are chosen, of which the second takes one."""
    everything = items(*range(10))
    scored = [
        retain_evaluation_set(everything, requests, 3, name="mine")
        for requests in ([items(0, 1)], [items(0, 1), items(4)])
    ]
    assert [ids(each.items) for each in scored] == [["2", "4", "7"], ["2", "7"]]
    assert {(each.name, each.entailment_premise) for each in scored} == {("retain", "answer")}
    assert ids(retain_evaluation_set(everything, [], 2, name="mine").items) == ["0", "5"]
    with pytest.raises(EffaceError, match=r"^mine: after 2 requests, none of the 1 questions to keep .* raise data\."):
        retain_evaluation_set(everything, [items(0), items(1)], 1, name="mine")
