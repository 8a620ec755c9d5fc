"""Rows, files and model objects given to the library: accepted, or refused with nothing left behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import efface as package
from efface import EffaceError
from efface.api import inputs
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
    temporary_folders,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


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


def test_data_by_name_as_a_mapping_and_beside_files() -> None:
    few = {"source": "synthetic-authors", "authors": 2, "forget_authors": 1}
    assert package.evaluate(MODEL, data=few, **SCORED | {"evaluate": SCORED["evaluate"] | {"limit": 2}})
    text = [{"text": "One sentence of a long passage that is not to be known. " * 12}]
    found = package.evaluate(MODEL, forget=text, data={"passage_length": 100}, **SCORED)
    assert len(found.records["forget"]) > 3


@pytest.mark.parametrize("given", [["No.", "Not me."], ("No.", "Not me."), Path("mine.txt"), "mine.txt"])
def test_refusals(here: Path, given: Any) -> None:
    Path("mine.txt").write_text("No.\nNot me.\n")
    settings = {**SETTINGS, "method": "idk+gd", "scores": False}
    done = package.unlearn(MODEL, forget=FORGET, retain=RETAIN, data={"refusals": given}, out="out", **settings)
    path = "mine.txt" if isinstance(given, str | Path) else str(done.folder.relative_to(here) / "inputs/refusals.txt")
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["data"][path] == hashlib.sha256(b"No.\nNot me.\n").hexdigest()


def test_a_model_object_is_left_as_it_was_and_equals_its_folder(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    model.generation_config.update(temperature=0.3, do_sample=False)  # as published models have it, and refused on save
    given = {name: value.clone() for name, value in model.state_dict().items()}
    config_before = dict(vars(model.config))
    done = package.unlearn(model, tokenizer=tokenizer, forget=FORGET, retain=RETAIN, out="object", **SETTINGS)
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())
    assert model.generation_config.temperature == 0.3
    assert model.config.dtype == torch.bfloat16
    assert vars(model.config) == config_before
    settings = json.loads(Path("object/model/generation_config.json").read_text())
    assert settings["temperature"] == 0.3
    made = json.loads(Path("object/manifest.json").read_text())
    assert made["model_sha256"] == model_sha256(Path("object/before"))
    by_path = package.unlearn("object/before", forget=FORGET, retain=RETAIN, out="path", **SETTINGS)
    assert weights("object") == weights("path")
    assert done.results == by_path.results
    assert done.model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"forget": None, "retain": None}, "there is nothing to forget; give forget=FILE or rows, or a benchmark"),
        ({"forget": None}, "data: source=files needs forget=PATH"),
        ({"data": "tofu-forget01"}, "forget= and retain= do not go with a benchmark; leave them out or leave data="),
        ({"data": {"forget": FORGET}, "retain": None}, "forget is given twice, as forget= and in data=; leave one out"),
        ({"data": 3, "forget": None, "retain": None}, r"data=3: .*data.source="),
        ({"data": {"retain": "r.jsonl"}}, "retain is given twice, as retain= and in data=; leave one out"),
        ({"forget": [{"question": "Why?"}]}, r"^forget\b.*answer"),
        (
            {"forget": [*FORGET, {"question": " ", "answer": "a"}]},
            r"^forget, row 9: column 'question' is blank; fill it in or remove the row$",
        ),
        ({"forget": "none.jsonl"}, "there is no file none.jsonl"),
        ({"forget": ["What?"]}, "forget: row 1 is of type str; give mappings such as"),
        ({"forget": []}, "forget has no rows; give at least one"),
        ({"forget": [{"text": float("nan")}]}, "^forget, row 1: column 'text' is null or empty; fill it in or remove"),
        ({"retain": [{"text": b"a"}]}, r"retain: row 1, column 'text': cannot be written as JSON \(TypeError: a bytes"),
        ({"retain": {"train": []}}, "retain is a mapping, which must have either a path or rows, such as {'rows': "),
        ({"retain": {"rows": [], "path": "a"}}, "retain is a mapping, which must have either a path or rows"),
        ({"retain": {"path": RETAIN}}, "retain: its path is of type list; give rows as 'rows'"),
        (
            {"forget": GERMAN},
            r"^forget: the names of its columns \(Frage, Antwort\) are not recognized; name them question and answer, "
            r"or give columns.question=NAME and columns.answer=NAME, "
            r".* \(give settings with the rows: forget={'rows': \.\.\., 'columns': {",
        ),
        (
            {"retain": {"rows": RETAIN, "columns": {"answer": "anwser"}}},
            "^columns.answer=anwser: retain has no such column; did you mean 'answer'?",
        ),
        ({"retain": 3}, "retain is of type int; give a path, hf:OWNER/NAME, or rows"),
        (
            {"data": {"refusals": 3}},
            r"data\['refusals'\] is of type int; give a file with one refusal a line, or a list",
        ),
        ({"data": {"refusals": ["a\nb", "c"]}}, r"data\['refusals'\] is of type list; .* texts of one line each"),
        ({"data": {"refusals": ["a\u2028b", "c"]}}, r"data\['refusals'\] is of type list; .* texts of one line each"),
        ({"data": {"refusals": ["No."]}}, r"data\.refusals: refusals has one line; give at least two"),
        ({"data": {"refusals": "none.txt"}}, "there is no file none.txt"),
        ({"model": 3}, "model is of type int; give a folder, a name on the hub, or a transformers model"),
        (
            {"tokenizer": 3},
            "tokenizer is an object, and model a path or name; give the folder or name",
        ),
    ],
)
@pytest.mark.parametrize("out", ["deep/down", None])
def test_refused(here: Path, given: dict[str, Any], sentence: str, out: str | None) -> None:
    with pytest.raises(EffaceError, match=sentence) as refused:
        package.unlearn(out=out, **{"model": MODEL, "forget": FORGET, "retain": RETAIN} | SETTINGS | given)
    assert "\n" not in str(refused.value)
    assert list(here.iterdir()) == temporary_folders(here) == []


def test_refused_model_objects(here: Path, loaded: tuple[Any, Any]) -> None:
    peft = pytest.importorskip("peft")
    model, tokenizer = loaded
    with pytest.raises(EffaceError, match="model is an object; also give its tokenizer as tokenizer="):
        package.evaluate(model, forget=FORGET)
    fresh = AutoModelForCausalLM.from_pretrained(MODEL)
    adapted = peft.get_peft_model(fresh, peft.LoraConfig(r=2, target_modules="all-linear"))
    with pytest.raises(EffaceError, match="model has adapters; merge them with merge_and_unload"):
        package.evaluate(adapted, tokenizer=tokenizer, forget=FORGET)
    with pytest.raises(EffaceError, match="tokenizer is of type int; give the model's, as AutoTokenizer loads it"):
        package.evaluate(model, tokenizer=3, forget=FORGET)  # type: ignore[arg-type]
    with pytest.raises(EffaceError, match=r"tokenizer: there is no folder .*nowhere; give a folder with a tokenizer"):
        package.evaluate(model, tokenizer="./nowhere", forget=FORGET)
    with pytest.raises(EffaceError, match=f"model is of type {type(tokenizer).__name__}; give a folder, a name on"):
        package.evaluate(tokenizer, tokenizer=tokenizer, forget=FORGET)
    with pytest.raises(EffaceError, match=r"evaluate.max_new_tokens=9999 exceed the model's .* positions"):
        package.evaluate(
            model,
            tokenizer=tokenizer,
            forget=FORGET,
            out="out",
            text=SETTINGS["text"],
            evaluate={"max_new_tokens": 9999},
        )
    assert list(here.iterdir()) == temporary_folders(here) == []


@pytest.mark.parametrize(
    "kind", ["LlamaModel", "LlamaForSequenceClassification", "BertForMaskedLM", "T5ForConditionalGeneration"]
)
def test_models_that_write_no_text(here: Path, loaded: tuple[Any, Any], kind: str) -> None:
    import transformers

    made = getattr(transformers, kind)
    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    sentence = f"model is of type {kind}, which is not a causal language model; load it with AutoModelForCausalLM"
    with pytest.raises(EffaceError, match=sentence):
        package.evaluate(made(made.config_class(**small)), tokenizer=loaded[1], forget=FORGET)
    assert list(here.iterdir()) == temporary_folders(here) == []


def test_a_folder_of_something_else_stays_as_it_is(here: Path) -> None:
    (here / "out" / "inputs").mkdir(parents=True)
    (here / "out" / "inputs" / "forget.jsonl").write_text("mine")
    with pytest.raises(EffaceError, match="--out out contains inputs/ and no run; remove it or choose another folder"):
        package.unlearn(MODEL, forget=FORGET, out="out", **SETTINGS | {"method": "me"})
    (here / "out" / "thesis.tex").touch()
    for resume in (False, True):
        with pytest.raises(EffaceError, match="is not empty and contains no run"):
            package.unlearn(MODEL, forget=FORGET, out="out", resume=resume, **SETTINGS | {"method": "me"})
    assert (here / "out" / "inputs" / "forget.jsonl").read_text() == "mine"


def test_a_folder_that_was_there_stays_empty(here: Path) -> None:
    (here / "out").mkdir()
    with pytest.raises(EffaceError, match="needs a retain set"):
        package.unlearn(MODEL, forget=FORGET, out="out", **SETTINGS)
    assert list((here / "out").iterdir()) == []


def test_stopped_while_the_model_is_written(
    here: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "_save", stopped)
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(loaded[0], tokenizer=loaded[1], forget=FORGET, out="a/b", **SETTINGS | {"method": "me"})
    assert list(here.iterdir()) == []
