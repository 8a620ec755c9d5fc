from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from efface.data import DataConfig, load_task, load_training_set, parse_data
from efface.data.sources.benchmarks.published import default_data_folder, find_benchmark
from efface.errors import EffaceError
from efface.schema import Item
from support.messages import assert_names

AUTHORS = DataConfig(source="synthetic-authors", authors=4, forget_authors=1)


def texts(items: tuple[Item, ...]) -> list[tuple[str, str]]:
    return [(item.question, item.answer) for item in items]


@pytest.fixture(autouse=True)
def nothing_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFACE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load_error(data: str, data_dir: Path | None) -> str:
    with pytest.raises(EffaceError) as caught:
        load_task(parse_data(data), data_dir=data_dir)
    with pytest.raises(EffaceError, match="^" + re.escape(str(caught.value)) + "$"):
        load_training_set(parse_data(data), data_dir=data_dir)
    return str(caught.value)


@pytest.mark.parametrize(("data", "name"), [("tofu-forget01", "tofu"), ("real-world", "real-world")])
def test_a_benchmark_that_was_not_downloaded(data: str, name: str) -> None:
    named = [f"{name} was not fetched yet", f"`efface data fetch {name}`", "--data-dir", "EFFACE_DATA"]
    assert_names(load_error(data, None), *named)


def test_a_benchmark_that_was_downloaded_in_part(shared: Path) -> None:
    folder = default_data_folder() / "real_world"
    folder.mkdir(parents=True)
    shutil.copy(shared / "data" / "real_world" / "forget.json", folder)
    named = ["real-world was fetched only in part", "`efface data fetch real-world`"]
    assert_names(load_error("real-world", None), *named)


def test_a_folder_without_the_benchmark(tmp_path: Path) -> None:
    assert_names(load_error("real-world", tmp_path), *[f"no folder {tmp_path}/real_world", "--data-dir"])


def test_a_downloaded_benchmark_is_loaded(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "data" / "real_world", default_data_folder() / "real_world")
    assert default_data_folder().is_relative_to(tmp_path)
    task = load_task(parse_data("real-world"), data_dir=None)
    pinned = find_benchmark("real-world").files
    assert task.sources == {f"real_world/{name}": pinned[name].sha256 for name in pinned}


def test_a_named_folder_takes_precedence(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shared / "data" / "real_world", default_data_folder() / "real_world")
    monkeypatch.setenv("EFFACE_DATA", str(tmp_path / "named"))
    assert f"no folder {tmp_path}/named/real_world" in load_error("real-world", None)
    assert load_task(parse_data("real-world"), data_dir=shared / "data").name == "real-world"


def test_the_folder_of_the_environment(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFACE_DATA", str(shared / "data"))
    assert load_task(parse_data("real-world"), data_dir=None).name == "real-world"


def test_retain_items_limits_task_and_training_set(shared: Path) -> None:
    config = DataConfig(source="tofu", split="forget01", retain_items=80)
    task = load_task(config, data_dir=shared / "data")
    full = load_task(DataConfig(source="tofu", split="forget01"), data_dir=shared / "data")
    assert task.retain == full.retain[:80]
    assert load_training_set(config, data_dir=shared / "data") == (*task.forget, *task.retain)


def test_synthetic_authors_need_no_folder() -> None:
    config = DataConfig(source="synthetic-authors", authors=5, forget_authors=1, author_seed=3)
    task = load_task(config, data_dir=None)
    assert (len(task.forget), len(task.retain)) == (20, 80)
    assert load_training_set(config, data_dir=None) == (*task.retain, *task.forget)


def test_files_need_no_folder(tmp_path: Path) -> None:
    forget, retain = tmp_path / "forget.jsonl", tmp_path / "retain.jsonl"
    forget.write_text('{"question": "Who?", "answer": "Ann"}')
    retain.write_text('{"question": "Where?", "answer": "Here"}')
    config = DataConfig(source="files", forget=forget, retain=retain)
    task = load_task(config, data_dir=None)
    assert load_training_set(config, data_dir=None) == (*task.forget, *task.retain)


@pytest.mark.parametrize(
    ("task", "forgotten_before", "remaining"), [(1, (), 60), (3, (), 60), (2, (1,), 40), (2, (1, 4), 20)]
)
def test_synthetic_authors_without_the_forget_set(task: int, forgotten_before: tuple[int, ...], remaining: int) -> None:
    """The forget sets of earlier requests are left out as well."""
    config = AUTHORS.model_copy(update={"task": task, "forgotten_before": forgotten_before})
    everything = load_training_set(config, data_dir=None)
    rest = load_training_set(config, data_dir=None, without="forget")
    current = load_task(config, data_dir=None)
    assert (len(everything), len(rest)) == (80, remaining)
    excluded = {item.entity for each in current.evaluation if each.name.startswith("forg") for item in each.items}
    assert len(excluded) == 1 + len(forgotten_before)
    assert {item.entity for item in everything} - {item.entity for item in rest} == excluded
    assert excluded.isdisjoint({item.entity for item in rest})
    assert [item for item in everything if item in rest] == list(rest)


@pytest.mark.parametrize("data", ["tofu-forget01", "tofu-forget05", "tofu-forget10"])
@pytest.mark.parametrize(("without", "count"), [("forget01", 40), ("forget05", 200), ("forget10", 400)])
def test_tofu_without_the_forget_set_of_a_split(shared: Path, data: str, without: str, count: int) -> None:
    config = parse_data(data)
    rest = load_training_set(config, data_dir=shared / "data", without=without)  # type: ignore[arg-type]
    assert len(rest) == 4000 - count
    lines = (shared / "data" / "tofu" / f"{without}.json").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    excluded = {(row["question"], row["answer"]) for row in rows if str(row["task_id"]) == "1"}
    assert len(excluded) == count
    assert excluded.isdisjoint(texts(rest))
    if data.endswith(without):
        assert load_training_set(config, data_dir=shared / "data", without="forget") == rest


def test_tofu_without_the_forget_sets_of_earlier_requests(shared: Path) -> None:
    config = DataConfig(source="tofu", split="forget10", task=3, forgotten_before=(1, 2))
    rest = load_training_set(config, data_dir=shared / "data", without="forget")
    assert len(rest) == 4000 - 3 * 400
    assert not any(item.id.startswith(("forget10/1/", "forget10/2/", "forget10/3/")) for item in rest)


def test_a_question_with_two_answers_remains_with_the_other_answer(shared: Path) -> None:
    config = DataConfig(source="tofu", split="forget10", task=6)
    rest = load_training_set(config, data_dir=shared / "data", without="forget")
    assert len(rest) == 3600
    excluded = load_task(config, data_dir=shared / "data").forget
    assert {item.question for item in excluded} & {item.question for item in rest}
    assert set(texts(excluded)).isdisjoint(texts(rest))


def test_real_world_without_the_forget_set(shared: Path) -> None:
    rest = load_training_set(parse_data("real-world"), data_dir=shared / "data", without="forget")
    assert (len(rest), {item.id.partition("/")[0] for item in rest}) == (400, {"neighbor"})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rows = {"first": [0], "second": [1, 2], "all": [0, 1, 2, 3, 4]}
    for name, numbers in rows.items():
        lines = [json.dumps({"question": f"Who is {n}?", "answer": f"{n} is one."}) + "\n" for n in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return {name: str(tmp_path / f"{name}.jsonl") for name in rows}


def test_files_without_their_forget_sets(files: dict[str, str]) -> None:
    settings = {"source": "files", "forget": files["second"], "retain": files["all"], "retain_minus_forget": True}
    first = DataConfig.model_validate(settings)
    assert len(load_training_set(first, data_dir=None)) == 5
    questions = [item.question for item in load_training_set(first, data_dir=None, without="forget")]
    assert questions == ["Who is 0?", "Who is 3?", "Who is 4?"]
    later = DataConfig.model_validate({**settings, "forgotten_before": [files["first"]]})
    questions = [item.question for item in load_training_set(later, data_dir=None, without="forget")]
    assert questions == ["Who is 3?", "Who is 4?"]


def test_extra_retain_is_not_in_the_training_set(files: dict[str, str]) -> None:
    config = DataConfig.model_validate({**AUTHORS.model_dump(exclude_defaults=True), "extra_retain": files["all"]})
    assert len(load_task(config, data_dir=None).retain) == 65
    assert len(load_training_set(config, data_dir=None, without="forget")) == 60


def test_without_must_leave_out_something_and_not_everything(files: dict[str, str], shared: Path) -> None:
    alone = DataConfig.model_validate({"source": "files", "forget": files["second"]})
    for config, without, problem in [(alone, "forget", "no other item"), (AUTHORS, "forget05", "no item of it")]:
        with pytest.raises(EffaceError) as caught:
            load_training_set(config, data_dir=shared / "data", without=without)  # type: ignore[arg-type]
        assert_names(str(caught.value), *[f"without={without}", problem, "remove this setting or choose other data"])
