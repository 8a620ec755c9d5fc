"""Folders of runs as efface writes them, made without a model."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from efface.artifacts import EpochScores, Manifest, Results, Trajectory
from efface.records import Record, write_records
from efface.scores.continual import continual_results
from efface.scores.score import score_records

MANIFEST = Manifest(
    efface="0.1.0",
    commit=None,
    command=["bin/efface", "run", "tofu-forget01", "method=me+gd", "--out", "runs/a run"],
    seed=3,
    device="cpu",
    precision="float32",
    versions={"torch": "2.13.0"},
    data={"some": "0" * 64},
    model="models/target",
    model_sha256="1" * 64,
    started="2026-01-02T03:04:05+00:00",
    seconds={"unlearn": 12.5},
)


def record(set_name: str, number: int, output: str, *, label: str | None = None) -> Record:
    """A record with the reference answer 'Author N was born in Town N.'; the judge accepts exactly that output."""
    answer = correct(number)
    is_correct = output == answer
    return Record(
        set=set_name,
        id=f"{set_name}/{number:03d}",
        question=f"Where was author {number} born?",
        answer=answer,
        output=output,
        output_token_ids=list(range(5 + number % 7)),
        answer_logprobs=[-0.1 if is_correct else -4.0] * 6,
        paraphrased_logprobs=[-0.2 if is_correct else -4.0] * 6,
        perturbed_logprobs=[[-3.0] * 6] * 3,
        embedding_target=answer,
        embedder="minilm",
        cosine_answer=1.0 if is_correct else 0.2,
        cosine_before=1.0 if is_correct else 0.2,
        entailment_target=answer,
        entailment_premise="output",
        judge="key-facts",
        entailment_label=label or ("entailment" if is_correct else "neutral"),
    )


def correct(number: int) -> str:
    """The reference answer."""
    return f"Author {number} was born in Town {number}."


def wrong(number: int) -> str:
    """An answer that shares a few words with the reference answer."""
    return f"Author {number} never told anybody, which is a pity for their many readers."


Answer = Callable[[int], str]
"""Number of a question -> a model's answer."""


def records(**sets: tuple[int, Answer]) -> dict[str, list[Record]]:
    """Set name (`forgotten_1` for `forgotten-1`) -> records, from how many questions it has and the answer to each."""
    named = {name.replace("forgotten_", "forgotten-"): each for name, each in sets.items()}
    return {
        name: [record(name, number, answer(number)) for number in range(1, count + 1)]
        for name, (count, answer) in named.items()
    }


def write_stage(folder: Path, sets: Mapping[str, Sequence[Record]]) -> None:
    """Write records/STAGE as a run does."""
    for name, rows in sets.items():
        write_records(folder / f"{name}.jsonl", rows)


def write_steps(folder: Path, count: int, steps: int | None = None) -> None:
    """Write metrics.jsonl: `count` of `steps` steps."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (
        {"step": step, "steps": steps or count, "loss": 3 / step, "forget": 2 / step, "retain": 1 / step, "lr": 1e-5}
        for step in range(1, count + 1)
    )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_watched(folder: Path, *steps: int) -> None:
    """Add what `train.watch` measures to metrics.jsonl: epoch 0 before the first step, others after these steps."""
    file = folder / "metrics.jsonl"
    for epoch, step in enumerate((0, *steps)):
        line = {
            "step": step,
            "epoch": epoch,
            "forget_answer": -0.5 - epoch,
            "forget_refusal": None,
            "retain_answer": -0.25,
            "retain_refusal": -3.0 + epoch,
            "ap_weight": 0.125 * (epoch + 1),
        }
        file.write_text(file.read_text() + json.dumps(line) + "\n")


def start_run(folder: Path, *, method: str | None = "me+gd", continual: bool = False) -> None:
    """The first files of a run: settings and manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = "definition: closer-look\nseed: 3\n" + (f"method: {method}\n" if method else "")
    (folder / "config.yaml").write_text(settings + ("continual:\n  requests: [1, 2]\n" if continual else ""))
    (folder / "manifest.json").write_text(MANIFEST.model_dump_json())


def write_run(
    folder: Path,
    before: Mapping[str, Sequence[Record]],
    after: Mapping[str, Sequence[Record]],
    *,
    epochs: Sequence[Mapping[str, Sequence[Record]]] = (),
) -> Path:
    """A complete run."""
    start_run(folder)
    write_stage(folder / "records" / "before", before)
    write_stage(folder / "records" / "after", after)
    write_steps(folder, 10)
    scores = [
        EpochScores(epoch=number, step=5 * number, scores=score_records(each, "closer-look"))
        for number, each in enumerate(epochs, 1)
    ]
    results = Results(
        definition="closer-look",
        method="me+gd",
        before=score_records(before, "closer-look"),
        after=score_records(after, "closer-look"),
        trajectory=Trajectory(epochs=scores, best=1, kept=len(scores)) if scores else None,
    )
    (folder / "results.json").write_text(json.dumps(results.to_json()))
    return folder


def write_example_run(folder: Path) -> Path:
    """A run with two epochs; 2 of 10 questions of the forget set leak, 3 of 20 of the retain set are broken."""
    before = records(forget=(10, correct), retain=(20, correct))
    after = records(
        forget=(10, lambda number: correct(number) if number <= 2 else wrong(number)),
        retain=(20, lambda number: wrong(number) if number <= 3 else correct(number)),
    )
    return write_run(folder, before, after, epochs=[before, after])


def write_queue(folder: Path) -> Path:
    """A queue of two requests of four questions each, with a retain set."""
    start_run(folder, continual=True)
    first = records(retain=(6, correct), forgotten_1=(4, correct), forgotten_2=(4, correct))
    write_stage(folder / "records" / "before", first)
    results = []
    for number, sets in enumerate(
        (
            {"retain": (6, correct), "forget": (4, wrong)},
            {"retain": (6, correct), "forget": (4, wrong), "forgotten_1": (4, correct)},
        ),
        1,
    ):
        request = folder / "requests" / f"{number:02d}"
        before = records(**{name: (count, correct) for name, (count, _) in sets.items()})
        write_run(request, before, records(**sets))
        results.append(Results.model_validate_json((request / "results.json").read_bytes()))
    joined = continual_results(results, first, ["first <b>", "second"], "closer-look")
    (folder / "results.json").write_text(json.dumps(joined.to_json()))
    return folder


def write_evaluation(folder: Path) -> Path:
    """Scores of one model, as `efface evaluate` writes them."""
    start_run(folder, method=None)
    sets = records(forget=(10, wrong), retain=(20, correct))
    write_stage(folder / "records", sets)
    scores = score_records(sets, "closer-look")
    (folder / "scores.json").write_text(json.dumps({"schema": 1, "definition": "closer-look", **scores.model_dump()}))
    return folder


def decompress(text: object) -> Any:
    """Data of the page's script, which `efface.report.page.questions.explorer_data.compress` wrote."""
    return json.loads(zlib.decompress(base64.b64decode(str(text), validate=True)))


def page_questions(data: Any) -> list[Any]:
    """The rows of the question explorer, from all blocks."""
    return [row for block in data["blocks"] for row in decompress(block)]
