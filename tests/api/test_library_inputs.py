"""efface as a library: what goes in, rows and files and objects, and the same run as by the command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import efface as package
from efface.config.commands import RunConfig
from efface.config.parse import read_yaml, validate_config
from efface.models.folder import model_sha256
from support.library import (
    FORGET,
    GERMAN,
    MODEL,
    NAMED,
    RETAIN,
    SCORED,
    SETTINGS,
    lines,
    names,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_rows_and_files_and_the_command_make_the_same_model(
    efface: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = package.unlearn(MODEL, forget=FORGET, retain=iter(RETAIN), out="rows", **SETTINGS)
    files = package.unlearn(
        str(MODEL),
        forget=Path(lines("f.jsonl", FORGET)),
        retain={"path": lines("r.jsonl", RETAIN)},
        out="f",
        **SETTINGS,
    )
    assert done.results == files.results
    ran = efface("run", "rows/config.yaml", "--out", "again")  # from what is in the folder alone
    assert (ran.returncode, ran.stderr) == (0, "")
    assert weights("rows") == weights("f") == weights("again")
    assert names(Path("rows")) == names(Path("f")) | {"inputs"}
    assert names(Path("rows/inputs")) == {"forget.jsonl", "retain.jsonl"}


def test_a_split_of_a_dataset_with_a_date(here: Path) -> None:
    datasets = pytest.importorskip("datasets")
    import datetime

    split = datasets.Dataset.from_list([{**row, "asked": datetime.datetime(2026, 1, 1)} for row in FORGET])
    found = package.evaluate(MODEL, forget=split, out="out", **SCORED)
    assert [record.question for record in found.records["forget"]] == [row["question"] for row in FORGET]


@pytest.mark.parametrize(
    "given",
    [
        {"forget": {"rows": GERMAN, **NAMED}},
        {"data": {"forget": {"rows": iter(GERMAN), **NAMED}}},
        {"data": {"forget": FORGET}},
        {"data": {"forget": {"path": Path("f.jsonl")}}},
        {"data": {"forget": Path("f.jsonl"), "retain": None}},
        {"forget": {"path": Path("f.jsonl")}},
    ],
)
def test_rows_and_paths_in_every_place(given: dict[str, Any]) -> None:
    lines("f.jsonl", FORGET)
    found = package.evaluate(MODEL, out="out", **given, **SCORED)
    assert [record.question for record in found.records["forget"]] == [row["question"] for row in FORGET]


def test_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        [{**row, "n": None, "key_fact": fact} for row, fact in zip(FORGET, ["T", *"." * 7], strict=True)]
    )
    found = package.evaluate(MODEL, forget=frame, out="out", **SCORED)
    assert [record.question for record in found.records["forget"]] == [row["question"] for row in FORGET]


@pytest.mark.parametrize(
    "row", [{"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yo."}]}]
)
def test_conversations(row: dict[str, Any]) -> None:
    done = package.unlearn(MODEL, forget=[row] * 2, method="ga", scores=False, **SETTINGS)
    with pytest.raises(package.EffaceError, match=r"was made with scores=False; score its model with efface\.evaluate"):
        _ = done.results
    assert done.records == {}
    assert (done.folder / "model" / "README.md").is_file()


def test_data_by_name_as_a_mapping_and_beside_files() -> None:
    few = {"source": "synthetic-authors", "authors": 2, "forget_authors": 1}
    assert package.evaluate(MODEL, data=few, **SCORED | {"evaluate": SCORED["evaluate"] | {"limit": 2}})
    text = [{"text": "One sentence of a long passage that is not to be known. " * 12}]
    found = package.evaluate(MODEL, forget=text, data={"passage_length": 100}, **SCORED)
    assert len(found.records["forget"]) > 3


def test_a_preset_and_its_recipe(here: Path) -> None:
    done = package.unlearn(
        MODEL, preset="demo", data={"authors": 2, "forget_authors": 1}, method="IDK+AP", scores=False, out="out",
        train={"epochs": 1, "batch_size": 20}, device="cpu",
    )  # fmt: skip
    config = validate_config(RunConfig, read_yaml(done.folder / "config.yaml"))
    assert (config.method, config.forget_coeff, config.train.lr, config.train.epochs) == ("idk+ap", 0.1, 3e-4, 1)


def test_a_model_object_is_left_as_it_was_and_stands_for_its_folder(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    model.generation_config.update(temperature=0.3, do_sample=False)  # as published models have it, and refused on save
    given = {name: value.clone() for name, value in model.state_dict().items()}
    settled = dict(vars(model.config))
    done = package.unlearn(model, tokenizer=tokenizer, forget=FORGET, retain=RETAIN, out="object", **SETTINGS)
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())
    assert model.generation_config.temperature == 0.3
    assert model.config.dtype == torch.bfloat16
    assert vars(model.config) == settled
    settings = json.loads(Path("object/model/generation_config.json").read_text())
    assert settings["temperature"] == 0.3
    made = json.loads(Path("object/manifest.json").read_text())
    assert made["model_sha256"] == model_sha256(Path("object/before"))
    by_path = package.unlearn("object/before", forget=FORGET, retain=RETAIN, out="path", **SETTINGS)
    assert weights("object") == weights("path")
    assert done.results == by_path.results
    assert done.model.dtype == torch.bfloat16
