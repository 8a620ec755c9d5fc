"""MUSE, WMDP and TOFU's holdout set from small local copies: a run of each, its scores, and privacy leakage."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from efface.records import read_records
from support.benchmarks import muse, tofu, wmdp
from support.downstream import cache_in
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]

SMALL = (
    "device=cpu",
    "train.epochs=1",
    "train.batch_size=4",
    "evaluate.max_new_tokens=3",
    "evaluate.embedder=none",
    "evaluate.judge=none",
)


@pytest.fixture
def run(efface: Command, place: Path, model: Path) -> Callable[..., Path]:
    """Run a preset on the data in `data`; returns the run's folder."""

    def run_preset(preset: str, *pairs: str, out: str = "run") -> Path:
        chunks = () if preset.startswith("tofu") else ("data.chunk_tokens=24",)
        arguments = (preset, f"model={model}", *SMALL, *chunks, *pairs, "--data-dir", "data", "--out", out)
        ran = efface("run", *arguments)
        assert ran.returncode == 0, ran.stderr
        return place / out

    return run_preset


def test_muse(efface: Command, run: Callable[..., Path], place: Path) -> None:
    muse(place / "data")
    folder = run("muse-news", "method=ga+gd", "train.lr=0.01")
    results = json.loads((folder / "results.json").read_text())
    sets = results["after"]["sets"]
    assert {name: sorted(each.get("custom", {})) for name, each in sets.items()} == {
        "retain": ["rouge_l_f1"],
        "forget": ["rouge_l_f1"],
        "forget_knowledge": ["rouge_l_f1"],
        "members": ["min_k"],
        "holdout": ["min_k"],
    }
    assert results["before"]["partial"]["metrics"] == ["rouge", "probability", "token_entropy"]
    assert sets["members"]["custom"]["min_k"] > results["before"]["sets"]["members"]["custom"]["min_k"]
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    assert splits["forget"] > 3  # chunks of the three documents
    assert splits["evaluation/holdout"] == 2
    records = read_records(folder / "records" / "after" / "members.jsonl")
    assert all(record.output == "" and len(record.answer_logprobs) > 10 for record in records)

    scored = efface("score", str(folder), "--against", str(folder), "--json")
    leakage = json.loads(scored.stdout)["privacy_leakage"]
    assert leakage["auc"] == leakage["auc_retrained"]
    assert "forget_quality" not in json.loads(scored.stdout)
    shown = efface("score", str(folder), "--stage", "before").stdout
    assert_names(shown, "Privacy leakage: AUC", "members against holdout")
    assert efface("report", str(folder)).returncode == 0


def test_muse_in_turn(run: Callable[..., Path], place: Path) -> None:
    muse(place / "data")
    folder = run("muse-news-sust", "method=npo+gd", "continual.requests=[1, 2]", "evaluate.limit=1")
    results = json.loads((folder / "results.json").read_text())
    assert list(results["after"][1]["sets"]) == [
        "retain",
        "forget",
        "forget_knowledge",
        "members",
        "holdout",
        "forgotten-1",
    ]
    assert len(results["forget_efficacy"]) == 2
    assert all(value is not None for row in results["forget_efficacy"] for value in row[-1:])


@pytest.mark.parametrize(
    ("preset", "corpus", "pairs"), [("muse-books", "books", ()), ("muse-news-scal", "news", ("data.task=2",))]
)
def test_other_forget_corpora_of_muse(
    run: Callable[..., Path], place: Path, preset: str, corpus: str, pairs: tuple[str, ...]
) -> None:
    muse(place / "data", corpus=corpus)
    folder = run(preset, "recipe=open-unlearning", "method=ga+gd", "train.max_steps=1", "evaluate.limit=1", *pairs)
    results = json.loads((folder / "results.json").read_text())
    assert set(results["after"]["sets"]) == {"retain", "forget", "forget_knowledge", "members", "holdout"}


def test_tofu_and_its_holdout_set(efface: Command, run: Callable[..., Path], place: Path) -> None:
    tofu(place / "data")
    pairs = ("recipe=open-unlearning", "text.format=plain", "data.holdout=published", "train.batch_size=8")
    folder = run("tofu-forget01", "method=simnpo+gd", *pairs)
    results = json.loads((folder / "results.json").read_text())
    assert results["definition"] == "open-unlearning"
    assert results["after"]["model_utility"] is not None
    assert results["after"]["sets"]["holdout"]["custom"].keys() == {"min_k"}
    assert {"extraction_strength", "exact_memorization"} <= results["after"]["sets"]["forget"].keys()
    scored = efface("score", str(folder), "--against", str(folder), "--json")
    assert {"auc", "privleak"} <= json.loads(scored.stdout)["privacy_leakage"].keys()


def test_wmdp(run: Callable[..., Path], place: Path) -> None:
    wmdp(place / "data")
    for name in ("wmdp_cyber", "mmlu"):
        write_multiple_choice(place / "tasks", name)
    with cache_in(place / "cache"):
        folder = run("wmdp-cyber", "method=me+gd", f"downstream.include={place / 'tasks'}")
    results = json.loads((folder / "results.json").read_text())
    assert {name: each["n"] for name, each in results["after"]["sets"].items()} == {"retain": 3, "forget": 3}
    scores = results["downstream"]["after"]["tasks"]
    assert {name: (each["metric"], each["n"]) for name, each in scores.items()} == {
        "wmdp_cyber": ("acc", 2),
        "mmlu": ("acc", 2),
    }


def write_multiple_choice(folder: Path, name: str) -> None:
    """A task in the form of lm-evaluation-harness's wmdp_cyber, whose two questions are in a local file."""
    folder.mkdir(exist_ok=True)
    rows = [{"question": f"Which is {n}?", "choices": ["one", "two", "three", "four"], "answer": n} for n in (0, 1)]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nAnswer:",
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


def test_a_target_model_is_trained_on_chunks(efface: Command, place: Path, model: Path) -> None:
    muse(place / "data", corpus="books")
    arguments = ("muse-books", f"model={model}", "data.chunk_tokens=24", "train.epochs=1", "train.batch_size=8")
    ran = efface("finetune", *arguments, "device=cpu", "--without", "forget", "--data-dir", "data", "--out", "target")
    assert ran.returncode == 0, ran.stderr
    assert (place / "target" / "model").is_dir()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("data.source=muse", "data.corpus=bio"), ["source=muse", "corpus=news or books", "not bio"]),
        (("data.source=wmdp",), ["source=wmdp", "corpus=bio or cyber"]),
        (("data=muse-books", "data.forget_corpus=sust"), ["forget_corpus=sust", "corpus=news"]),
        (("muse-news-scal", "data.task=5"), ["task=5", "forget_corpus=scal", "1 to 4"]),
        (("muse-news", "data.task=2"), ["task=2", "forget_corpus=raw", "1 to 1"]),
        (("data=muse-news", "data.documents=5"), ["documents=5", "source=muse"]),
        (("tofu-forget01", "data.chunk_tokens=64"), ["chunk_tokens=64", "source=tofu"]),
        (("muse-news",), ["muse-news", "efface data fetch muse-news"]),
        (("demo", "evaluate.question=paraphrased", "evaluate.stop=["), ["evaluate.stop"]),
    ],
)
def test_settings_that_are_refused(
    refused: Callable[..., str], model: Path, arguments: tuple[str, ...], parts: list[str]
) -> None:
    assert_names(refused("run", *arguments, f"model={model}", "method=ga+gd", "--out", "out"), *parts)


def test_paraphrased_questions_and_stop_strings(
    efface: Command, place: Path, model: Path, refused: Callable[..., str]
) -> None:
    common = (f"model={model}", *SMALL, "data.authors=3", "data.forget_authors=1", "evaluate.limit=2")
    for out, pairs in (("plain", ()), ("asked", ("evaluate.question=paraphrased", "evaluate.stop=e"))):
        ran = efface("run", "demo", "method=ga+gd", *common, *pairs, "--out", out)
        assert ran.returncode == 0, ran.stderr
    plain, asked = (read_records(place / out / "records" / "after" / "forget.jsonl") for out in ("plain", "asked"))
    assert [record.answer for record in plain] == [record.answer for record in asked]
    assert all(one.question != other.question for one, other in zip(plain, asked, strict=True))
    assert not any("e" in record.output for record in asked)
    said = refused("run", "mine.yaml", "evaluate.question=paraphrased", "--out", "none")
    assert_names(said, "evaluate.question=paraphrased", "paraphrased_question")
