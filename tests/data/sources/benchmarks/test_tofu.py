from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from efface.data.config import Split
from efface.data.sources.benchmarks.tofu import load_tofu, load_tofu_training_set
from efface.errors import EffaceError
from efface.schema import Item
from support.messages import assert_names


def texts(items: tuple[Item, ...]) -> set[tuple[str, str]]:
    return {(item.question, item.answer) for item in items}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "tofu"


@pytest.mark.parametrize(
    ("split", "last_task", "forget", "scored"),
    [("forget01", 10, 40, 40), ("forget05", 10, 200, 200), ("forget10", 9, 400, 300)],
)
def test_every_task_splits_the_whole_benchmark(
    folder: Path, split: Split, last_task: int, forget: int, scored: int
) -> None:
    everything = texts(load_tofu_training_set(folder, split))
    for task_id in (1, last_task):
        task = load_tofu(folder, split, task_id, retain_evaluation=300)
        assert (len(task.forget), len(task.retain)) == (forget, 4000 - forget)
        assert texts(task.forget) | texts(task.retain) == everything
        assert [(s.name, len(s.items), s.entailment_premise) for s in task.evaluation] == [
            ("forget", scored, "output"),
            ("retain", 300, "answer"),
            ("real_authors", 100, "answer"),
            ("world_facts", 117, "answer"),
        ]


def test_all_questions_of_a_forget_set_are_scored_if_asked_for(folder: Path) -> None:
    """open-unlearning does; `forget10` of the hub has 400."""
    task = load_tofu(folder, "forget10", 2, 400, forget_evaluation=400, forgotten_before=(1,))
    sizes = {each.name: len(each.items) for each in task.evaluation}
    assert (sizes["forget"], sizes["forgotten-1"], sizes["retain"]) == (400, 400, 400)


def test_a_target_model_sees_all_four_thousand_questions(folder: Path) -> None:
    items = load_tofu_training_set(folder, "forget10")
    assert len(items) == len({item.id for item in items}) == len(texts(items)) == 4000


def test_other_tasks_are_in_the_retain_set(folder: Path) -> None:
    tasks = [load_tofu(folder, "forget01", number, retain_evaluation=1) for number in (1, 2)]
    assert texts(tasks[0].forget) <= texts(tasks[1].retain)
    assert texts(tasks[1].forget) <= texts(tasks[0].retain)
    retain = {item.id for item in tasks[0].retain}
    assert {"retain90/0001", "retain90/3600", "forget01/2/0001", "forget01/10/0040"} <= retain
    assert not any(id.startswith("forget01/1/") for id in retain)


def test_a_forget_item_and_its_scored_version_share_an_id(folder: Path) -> None:
    task = load_tofu(folder, "forget05", 3, retain_evaluation=7)
    scored = {item.id: item for item in task.evaluation[0].items}
    for item in task.forget:
        assert (scored[item.id].question, scored[item.id].answer) == (item.question, item.answer)
        assert len(scored[item.id].perturbed_answers) == 5
        assert scored[item.id].paraphrased_answer
    assert len(task.evaluation[1].items) == 7


def test_answers_that_are_names_have_an_original_answer(folder: Path) -> None:
    real_authors = load_tofu(folder, "forget01", 1, retain_evaluation=1).evaluation[2].items
    assert real_authors[0].answer == "William Shakespeare"
    assert real_authors[0].original_answer == "The play 'Romeo and Juliet' was written by William Shakespeare."
    assert {len(item.perturbed_answers) for item in real_authors} == {3}
    assert {item.paraphrased_answer for item in real_authors} == {None}


def test_warning_about_a_question_with_two_answers(folder: Path) -> None:
    [warning] = load_tofu(folder, "forget10", 6, retain_evaluation=1).warnings
    assert "different answers" in warning
    assert "forget10/6/" in warning
    assert "retain10/" in warning
    assert load_tofu(folder, "forget10", 5, retain_evaluation=1).warnings == ()


def test_sources_are_hashes_of_the_files(folder: Path) -> None:
    sources = load_tofu(folder, "forget01", 1, retain_evaluation=1).sources
    assert set(sources) == {
        f"tofu/{name}.json"
        for name in (
            "forget01",
            "forget01_perturbed",
            "retain90",
            "retain_perturbed",
            "real_authors_perturbed",
            "world_facts_perturbed",
        )
    }
    content = (folder / "retain90.json").read_bytes()
    assert sources["tofu/retain90.json"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("split", "tasks", "size"), [("forget01", 3, 40), ("forget05", 3, 200), ("forget10", 9, 400)])
def test_a_sequence_of_requests(folder: Path, split: Split, tasks: int, size: int) -> None:
    """The retain set is everything that was not yet forgotten; every set scores up to 300 questions."""
    queue = [load_tofu(folder, split, task, 300, forgotten_before=range(1, task)) for task in range(1, tasks + 1)]
    everything, forgotten = texts(queue[0].forget) | texts(queue[0].retain), set[tuple[str, str]]()
    for index, task in enumerate(queue):
        assert (len(task.forget), len(task.retain)) == (size, 4000 - size * (index + 1))
        assert not texts(task.forget) & forgotten
        forgotten |= texts(task.forget)
        assert texts(task.retain) == everything - forgotten
        assert {each.name: len(each.items) for each in task.evaluation} == {
            "forget": min(size, 300),
            **{f"forgotten-{number}": min(size, 300) for number in range(1, index + 1)},
            "retain": 300,
            "real_authors": 100,
            "world_facts": 117,
        }
        scored = {each.name: each for each in task.evaluation}
        for number, earlier in enumerate(queue[:index], 1):
            assert scored[f"forgotten-{number}"].items == earlier.evaluation[0].items
            assert scored[f"forgotten-{number}"].entailment_premise == "output"


def test_requests_in_another_order(folder: Path) -> None:
    """`forgotten-1` is the forget set of the first request, whatever the number of its task."""
    task = load_tofu(folder, "forget01", 3, 300, forgotten_before=(2, 1))
    first = load_tofu(folder, "forget01", 2, 300)
    assert task.evaluation[1].name == "forgotten-1"
    assert task.evaluation[1].items == first.evaluation[0].items
    assert len(task.retain) == 4000 - 3 * 40


def test_errors(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "forget01.json").write_bytes((folder / "forget01.json").read_bytes())
    with pytest.raises(EffaceError, match=r"there is no file .*forget01_perturbed\.json"):
        load_tofu(tmp_path, "forget01", 1, retain_evaluation=1)
    row = '{"task_id": "2", "question": "Who?", "answer": "Ann"}\n'
    for name in ("forget01", "forget01_perturbed"):
        (tmp_path / f"{name}.json").write_text(row)
    with pytest.raises(EffaceError) as caught:
        load_tofu(tmp_path, "forget01", 1, retain_evaluation=1)
    assert_names(str(caught.value), *[str(tmp_path), "forget01.json and forget01_perturbed.json", "task 1"])
