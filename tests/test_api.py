"""efface as a library: objects and paths in, typed results out, the same run as by the command."""

from __future__ import annotations

import gc
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

import efface as package
from efface import EffaceError
from efface.run import inputs
from efface.run.config import RunConfig
from efface.run.models import model_sha256
from efface.run.reporter import Silent
from efface.run.settings import read_yaml, validated
from efface.train.loop import Trainer
from efface.train.step import Losses

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MODEL = Path(__file__).parent / "golden" / "model"
SETTINGS: dict[str, Any] = {
    "text": {"format": "plain"},
    "train": {"lr": 1e-3, "epochs": 1, "batch_size": 4},
    "evaluate": {"embedder": "none", "judge": "none", "new_tokens": 4},
    "device": "cpu",
}
SCORED: dict[str, Any] = {key: SETTINGS[key] for key in ("text", "evaluate", "device")}
FORGET = [{"question": f"Where is {n}?", "answer": f"{n} is in Turku."} for n in range(8)]
RETAIN = [{"question": f"Who is {n}?", "answer": f"{n} is a smith."} for n in range(9)]


class DiesAfter(Silent):
    """Dies after a step, as the process would."""

    def __init__(self, step: int) -> None:
        self.last = step

    def step(self, log: Any) -> None:
        if log.step == self.last:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; folders for runs without `out` are made in another."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return place


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    """A model and its tokenizer as objects, in a dtype of their own."""
    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16), AutoTokenizer.from_pretrained(MODEL)


def lines(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def weights(folder: Path | str) -> bytes:
    return (Path(folder) / "model" / "model.safetensors").read_bytes()


def temporary_folders(here: Path) -> list[Path]:
    return list((here.parent / "temporary").iterdir())


# What goes in


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


NAMED = {"columns": {"question": "Frage", "answer": "Antwort"}}
GERMAN = [{"Frage": row["question"], "Antwort": row["answer"]} for row in FORGET]


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
    few = {"source": "generated", "authors": 2, "forget_authors": 1}
    assert package.evaluate(MODEL, data=few, **SCORED | {"evaluate": SCORED["evaluate"] | {"limit": 2}})
    text = [{"text": "One sentence of a long passage that is not to be known. " * 12}]
    found = package.evaluate(MODEL, forget=text, data={"passage_length": 100}, **SCORED)
    assert len(found.records["forget"]) > 3


def test_a_preset_and_its_recipe(here: Path) -> None:
    done = package.unlearn(
        MODEL, preset="demo", data={"authors": 2, "forget_authors": 1}, method="IDK+AP", scores=False, out="out",
        train={"epochs": 1, "batch_size": 20}, device="cpu",
    )  # fmt: skip
    config = validated(RunConfig, read_yaml(done.folder / "config.yaml"))
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


# What comes out


def test_results_are_typed_and_the_model_is_the_unlearned_one() -> None:
    done = package.unlearn(MODEL, forget=FORGET, retain=RETAIN, out="out", **SETTINGS)
    assert done.folder == Path("out").absolute()
    assert isinstance(done.results, package.Results)
    assert isinstance(done.results.after, package.Scores)
    assert done.results.to_json() == json.loads(Path("out/results.json").read_text())
    assert {stage: {name: len(rows) for name, rows in sets.items()} for stage, sets in done.records.items()} == {
        "before": {"forget": 8, "retain": 9},
        "after": {"forget": 8, "retain": 9},
    }
    assert isinstance(done.model, PreTrainedModel)
    assert not done.model.training
    assert done.model is done.model
    assert done.tokenizer.decode(done.tokenizer("Turku").input_ids, skip_special_tokens=True) == "Turku"
    found = package.evaluate(done.model, tokenizer=done.tokenizer, forget=FORGET, retain=RETAIN, **SCORED)
    assert found.scores == done.results.after
    assert isinstance(found.records["forget"][0], package.Record)
    compared = package.evaluate("out/model", forget=FORGET, retain=RETAIN, before=done.records["before"], **SCORED)
    assert compared.scores == found.scores


def test_a_temporary_folder_lives_as_long_as_what_is_returned(here: Path) -> None:
    done = package.unlearn(MODEL, forget=FORGET, method="me", scores=False, **SETTINGS)
    assert temporary_folders(here) == [done.folder]
    model = done.model
    del done
    gc.collect()
    assert temporary_folders(here) == []
    assert model(torch.tensor([[3, 4]])).logits.isfinite().all()
    with pytest.raises(EffaceError, match="unknown method"):
        package.unlearn(MODEL, forget=FORGET, method="mee")
    assert temporary_folders(here) == []
    assert list(here.iterdir()) == []


def test_training_that_diverges_leaves_its_checkpoint(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names it."""
    finite = Trainer._finite_norm

    def diverging(self: Trainer, number: int, examples: Any, losses: Any) -> torch.Tensor:
        if number == 3:
            losses = Losses(losses.forget * math.inf, losses.retain)
        return finite(self, number, examples, losses)

    monkeypatch.setattr(Trainer, "_finite_norm", diverging)
    settings = SETTINGS | {"train": {"lr": 1e-3, "epochs": 3, "batch_size": 8, "checkpoint_every": 1}}
    with pytest.raises(EffaceError, match="the checkpoint of step 1 stays in ") as raised:
        package.unlearn(MODEL, forget=FORGET, method="ga", scores=False, **settings)
    [folder] = temporary_folders(here)
    kept = str(raised.value).split(" stays in ")[1].split(";")[0]
    assert Path(kept).is_dir()
    assert Path(kept).is_relative_to(folder)


@pytest.mark.filterwarnings("default")
def test_warnings_are_pythons_unless_somebody_is_told() -> None:
    with pytest.warns(UserWarning, match="cosine_similarity will be missing: switched off"):
        package.evaluate(MODEL, forget=FORGET, **SCORED)

    class Told(Silent):
        said: list[str] = []  # noqa: RUF012 - one object

        def warning(self, text: str) -> None:
            self.said.append(text)

    package.evaluate(MODEL, forget=FORGET, reporter=Told(), **SCORED)
    assert any(text.startswith("cosine_similarity will be missing") for text in Told.said)


@pytest.mark.filterwarnings("default")
def test_warnings_name_rows_as_the_caller_does() -> None:
    rows = [{**row, "note": "x"} for row in FORGET]
    with pytest.warns(UserWarning, match="^forget: columns not read: note") as warned:
        package.evaluate(MODEL, forget=rows, **SCORED)
    assert {Path(each.filename).name for each in warned} == {"test_api.py"}


# Going on


@pytest.mark.parametrize("kind", ["path", "object"])
def test_a_run_goes_on_from_its_rows_and_object(loaded: tuple[Any, Any], kind: str) -> None:
    model: dict[str, Any] = (
        {"model": MODEL} if kind == "path" else dict(zip(("model", "tokenizer"), loaded, strict=True))
    )
    given = model | {"forget": FORGET, "retain": RETAIN} | SETTINGS
    given["train"] = given["train"] | {"checkpoint_every": 1, "epochs": 2}
    whole = package.unlearn(out="whole", **given)
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(out="cut", reporter=DiesAfter(3), **given)
    with pytest.raises(EffaceError, match="--out cut already holds a run; go on with --resume"):
        package.unlearn(out="cut", **given)
    kept = Path("cut/inputs/forget.jsonl").read_bytes()
    with pytest.raises(EffaceError, match=r"--resume: forget holds other rows than cut/inputs/forget.jsonl; give the"):
        package.unlearn(out="cut", resume=True, **given | {"forget": FORGET[1:]})
    assert Path("cut/inputs/forget.jsonl").read_bytes() == kept
    done = package.unlearn(out="cut", resume=True, **given)
    assert done.results == whole.results
    assert weights("cut") == weights("whole")
    assert names(Path("cut")) == names(Path("whole"))


def test_another_model_object_is_refused_and_the_first_one_stays(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    given: dict[str, Any] = {"tokenizer": tokenizer, "forget": FORGET, "method": "ga", "out": "out", **SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        package.unlearn(model, reporter=DiesAfter(1), **given)
    kept = model_sha256(Path("out/before"))
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    with pytest.raises(EffaceError, match="--resume: the model is not the one in out/before; give the same one"):
        package.unlearn(model, resume=True, **given)
    assert model_sha256(Path("out/before")) == kept
    assert not list(Path("out").glob("*.partial"))


# Refused, and nothing stays behind


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"trian": {"lr": 1}}, r"unknown key 'trian'; did you mean 'train'\?"),
        ({"train": {"lrr": 1}}, r"unknown key 'train.lrr'; did you mean 'train.lr'\?"),
        ({"train": {"lr": -1}}, "train.lr=-1: input should be greater than 0"),
        ({"method": "me+gdd"}, r"unknown method 'me\+gdd'; did you mean 'me\+gd'\?"),
        ({"preset": "tofu-forgt01"}, r"unknown preset 'tofu-forgt01'; did you mean 'tofu-forget01'\?"),
        ({"recipe": "ours"}, "recipe=ours chooses among a preset's settings"),
        ({"plugins": "none.py"}, "plug-in none.py: there is no such file"),
        ({"forget": None, "retain": None}, "there is nothing to forget; give forget=FILE or rows, or a benchmark"),
        ({"forget": None}, "data: source=files needs forget=PATH"),
        ({"data": "tofu-forget01"}, "forget= and retain= go with files of your own; leave them out or leave data="),
        ({"data": {"forget": FORGET}, "retain": None}, "forget is given twice, by itself and in data; leave one out"),
        ({"data": 3, "forget": None, "retain": None}, "data=3: it holds settings of its own"),
        ({"data": {"retain": "r.jsonl"}}, "retain is given twice, by itself and in data; leave one out"),
        ({"forget": [{"question": "Why?"}]}, r"^forget\b.*answer"),
        (
            {"forget": [*FORGET, {"question": " ", "answer": "a"}]},
            r"^forget, row 9: column 'question' is blank; fill it in or remove the row$",
        ),
        ({"forget": "none.jsonl"}, "there is no file none.jsonl"),
        ({"forget": ["What?"]}, "forget: row 1 is of type str; give mappings such as"),
        ({"forget": []}, "forget holds no rows; give one at least"),
        ({"forget": [{"text": float("nan")}]}, "^forget, row 1: column 'text' holds nothing; fill it in or remove"),
        ({"retain": [{"text": b"a"}]}, r"retain: row 1, column 'text': cannot be written as JSON \(TypeError: a bytes"),
        ({"retain": {"train": []}}, "retain is a mapping, which must hold either a path or rows, such as {'rows': "),
        ({"retain": {"rows": [], "path": "a"}}, "retain is a mapping, which must hold either a path or rows"),
        ({"retain": {"path": RETAIN}}, "retain: its path is of type list; give rows as 'rows'"),
        (
            {"forget": GERMAN},
            r"^forget: the names of its columns \(Frage, Antwort\) do not tell what they hold; give columns.question="
            r"NAME and columns.answer=NAME, .* \(settings go beside the rows: forget={'rows': \.\.\., 'columns': {",
        ),
        (
            {"retain": {"rows": RETAIN, "columns": {"answer": "anwser"}}},
            "^columns.answer=anwser: retain has no such column; did you mean 'answer'?",
        ),
        ({"retain": 3}, "retain is of type int; give a path, hf:OWNER/NAME, or rows"),
        ({"retain": None}, r"method me\+gd needs a retain set"),
        ({"model": 3}, "model is of type int; give a folder, a name on the hub, or a model of transformers"),
        ({"model": "no/such/model"}, "model: 'no/such/model' is neither a folder nor a possible hub name"),
        ({"tokenizer": 3}, "tokenizer= goes with a model object; the folder of a model brings its own"),
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
    with pytest.raises(EffaceError, match="model is an object; give its tokenizer, too, as tokenizer="):
        package.evaluate(model, forget=FORGET)
    fresh = AutoModelForCausalLM.from_pretrained(MODEL)
    adapted = peft.get_peft_model(fresh, peft.LoraConfig(r=2, target_modules="all-linear"))
    with pytest.raises(EffaceError, match="model holds adapters; merge them with merge_and_unload"):
        package.evaluate(adapted, tokenizer=tokenizer, forget=FORGET)
    with pytest.raises(
        EffaceError, match="tokenizer is of type str; give that of the model, as AutoTokenizer loads it"
    ):
        package.evaluate(model, tokenizer=str(MODEL), forget=FORGET)  # type: ignore[arg-type]
    with pytest.raises(EffaceError, match=f"model is of type {type(tokenizer).__name__}; give a folder, a name on"):
        package.evaluate(tokenizer, tokenizer=tokenizer, forget=FORGET)
    with pytest.raises(EffaceError, match=r"evaluate.new_tokens=9999 exceed the model's .* positions"):
        package.evaluate(
            model, tokenizer=tokenizer, forget=FORGET, out="out", text=SETTINGS["text"], evaluate={"new_tokens": 9999}
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
    sentence = f"model is of type {kind}, which is no causal language model; load it with AutoModelForCausalLM"
    with pytest.raises(EffaceError, match=sentence):
        package.evaluate(made(made.config_class(**small)), tokenizer=loaded[1], forget=FORGET)
    assert list(here.iterdir()) == temporary_folders(here) == []


def test_what_an_evaluation_does_not_take(here: Path) -> None:
    for given, sentence in (
        ({"train": {"lr": 1}}, "unknown key 'train'"),
        ({"retain": "generated"}, "data: retain=generated compares a model with itself before unlearning"),
    ):
        with pytest.raises(EffaceError, match=sentence):
            package.evaluate(MODEL, forget=FORGET, **given)  # type: ignore[arg-type]
    with pytest.raises(EffaceError, match="resume=True goes on in a run's folder; name it with out="):
        package.unlearn(MODEL, forget=FORGET, resume=True)


def test_a_folder_of_something_else_stays_as_it_is(here: Path) -> None:
    (here / "out" / "inputs").mkdir(parents=True)
    (here / "out" / "inputs" / "forget.jsonl").write_text("mine")
    with pytest.raises(EffaceError, match="--out out holds inputs/ and no run; remove it or choose another folder"):
        package.unlearn(MODEL, forget=FORGET, method="me", out="out", **SETTINGS)
    (here / "out" / "thesis.tex").touch()
    for resume in (False, True):
        with pytest.raises(EffaceError, match="is not empty and holds no run"):
            package.unlearn(MODEL, forget=FORGET, method="me", out="out", resume=resume, **SETTINGS)
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
        package.unlearn(loaded[0], tokenizer=loaded[1], forget=FORGET, method="me", out="a/b", **SETTINGS)
    assert list(here.iterdir()) == []


# The package


def test_everything_it_promises_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="module 'efface' has no attribute 'unlern'"):
        package.unlern  # noqa: B018
