"""`load_training_set(without=...)`: what a retrained model never sees is really absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from efface.data import DataConfig, load_task, load_training_set, parse_data
from efface.errors import EffaceError
from efface.schema import Item

GENERATED = DataConfig(source="synthetic-authors", authors=4, forget_authors=1)


def texts(items: tuple[Item, ...]) -> list[tuple[str, str]]:
    return [(item.question, item.answer) for item in items]


@pytest.mark.parametrize(("task", "after", "left"), [(1, (), 60), (3, (), 60), (2, (1,), 40), (2, (1, 4), 20)])
def test_generated_authors_without_those_to_forget(task: int, after: tuple[int, ...], left: int) -> None:
    """What was forgotten before is gone, too: nobody unlearns it to be taught it again."""
    config = GENERATED.model_copy(update={"task": task, "forgotten_before": after})
    everything = load_training_set(config, data_dir=None)
    rest = load_training_set(config, data_dir=None, without="forget")
    asked_for = load_task(config, data_dir=None)
    assert (len(everything), len(rest)) == (80, left)
    gone = {item.entity for each in asked_for.evaluation if each.name.startswith("forg") for item in each.items}
    assert len(gone) == 1 + len(after)
    assert {item.entity for item in everything} - {item.entity for item in rest} == gone
    assert gone.isdisjoint({item.entity for item in rest})
    assert [item for item in everything if item in rest] == list(rest)


@pytest.mark.parametrize("data", ["tofu-forget01", "tofu-forget05", "tofu-forget10"])
@pytest.mark.parametrize(("without", "count"), [("forget01", 40), ("forget05", 200), ("forget10", 400)])
def test_tofu_without_a_forget_set(shared: Path, data: str, without: str, count: int) -> None:
    config = parse_data(data)
    rest = load_training_set(config, data_dir=shared / "data", without=without)  # type: ignore[arg-type]
    assert len(rest) == 4000 - count
    lines = (shared / "data" / "tofu" / f"{without}.json").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    gone = {(row["question"], row["answer"]) for row in rows if str(row["task_id"]) == "1"}
    assert len(gone) == count
    assert gone.isdisjoint(texts(rest))
    if data.endswith(without):
        assert load_training_set(config, data_dir=shared / "data", without="forget") == rest


def test_tofu_after_earlier_requests(shared: Path) -> None:
    config = DataConfig(source="tofu", split="forget10", task=3, forgotten_before=(1, 2))
    rest = load_training_set(config, data_dir=shared / "data", without="forget")
    assert len(rest) == 4000 - 3 * 400
    assert not any(item.id.startswith(("forget10/1/", "forget10/2/", "forget10/3/")) for item in rest)


def test_a_question_with_two_answers_keeps_the_other(shared: Path) -> None:
    config = DataConfig(source="tofu", split="forget10", task=6)
    rest = load_training_set(config, data_dir=shared / "data", without="forget")
    assert len(rest) == 3600
    gone = load_task(config, data_dir=shared / "data").forget
    assert {item.question for item in gone} & {item.question for item in rest}
    assert set(texts(gone)).isdisjoint(texts(rest))


def test_real_people_without_those_to_forget(shared: Path) -> None:
    rest = load_training_set(parse_data("real-world"), data_dir=shared / "data", without="forget")
    assert (len(rest), {item.id.partition("/")[0] for item in rest}) == (400, {"neighbor"})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rows = {"first": [0], "second": [1, 2], "all": [0, 1, 2, 3, 4]}
    for name, numbers in rows.items():
        lines = [json.dumps({"question": f"Who is {n}?", "answer": f"{n} is one."}) + "\n" for n in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return {name: str(tmp_path / f"{name}.jsonl") for name in rows}


def test_own_files_without_what_they_forget(files: dict[str, str]) -> None:
    whole = {"source": "files", "forget": files["second"], "retain": files["all"], "retain_minus_forget": True}
    first = DataConfig.model_validate(whole)
    assert len(load_training_set(first, data_dir=None)) == 5
    asked = [item.question for item in load_training_set(first, data_dir=None, without="forget")]
    assert asked == ["Who is 0?", "Who is 3?", "Who is 4?"]
    later = DataConfig.model_validate({**whole, "forgotten_before": [files["first"]]})
    asked = [item.question for item in load_training_set(later, data_dir=None, without="forget")]
    assert asked == ["Who is 3?", "Who is 4?"]


def test_padding_is_not_taught(files: dict[str, str]) -> None:
    config = DataConfig.model_validate({**GENERATED.model_dump(exclude_defaults=True), "extra_retain": files["all"]})
    assert len(load_task(config, data_dir=None).retain) == 65
    assert len(load_training_set(config, data_dir=None, without="forget")) == 60


def test_what_would_leave_nothing_or_everything_is_refused(files: dict[str, str], shared: Path) -> None:
    alone = DataConfig.model_validate({"source": "files", "forget": files["second"]})
    with pytest.raises(EffaceError, match="without=forget: the data holds nothing but that; leave it out or choose"):
        load_training_set(alone, data_dir=None, without="forget")
    with pytest.raises(EffaceError, match="without=forget05: the data holds nothing of it; leave it out or choose"):
        load_training_set(GENERATED, data_dir=shared / "data", without="forget05")
