"""Records of models that answered by chance, for scores that are neither 0 nor 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from efface.artifacts import Results
from efface.files.atomic import write_json
from efface.records import Record, write_records
from efface.scores import score_records
from efface.scores.definitions import CLOSER_LOOK, Definition
from efface.scores.inputs.from_records import from_records
from efface.scores.leaderboard.question_scores import SetValues, set_values

Sets = dict[str, list[Record]]
NAMES = ("retain", "real_authors", "world_facts", "forget")


def answered(seed: int, n: int = 7, names: tuple[str, ...] = NAMES, **fields: Any) -> Sets:
    """Every set with the same `n` questions for each seed, and other answers; `fields` replace some in all records."""
    random = np.random.default_rng(seed)

    def one(name: str, number: int) -> Record:
        answer = f"She was born in town number {number} of {name}."
        drawn: dict[str, Any] = {
            "set": name,
            "id": f"{name}/{number}",
            "question": f"Where was author {number} born?",
            "answer": answer,
            "output": " ".join(random.choice([*answer.split(), "no", "yes"], 8)),
            "output_token_ids": random.integers(4, size=6).tolist(),
            "answer_logprobs": (-random.exponential(size=3)).tolist(),
            "paraphrased_logprobs": (-random.exponential(size=3)).tolist(),
            "perturbed_logprobs": (-random.exponential(size=(2, 3))).tolist(),
            "embedding_target": answer,
            "embedder": "MiniLM",
            "cosine_answer": random.uniform(-0.2, 1),
            "cosine_before": random.uniform(-0.2, 1),
            "entailment_target": answer,
            "entailment_premise": "output",
            "judge": "nli",
            "entailment_label": str(random.choice(["entailment", "neutral"])),
        }
        return Record.model_validate(drawn | fields)

    return {name: [one(name, number) for number in range(n)] for name in names}


def values_of(sets: Sets, definition: Definition = CLOSER_LOOK) -> dict[str, SetValues]:
    """The metrics question by question."""
    return {
        name: set_values(
            name, from_records(name, rows, where="here"), definition, {row.id: row.question for row in rows}
        )
        for name, rows in sets.items()
    }


def write_run(folder: Path, before: Sets, after: Sets, method: str = "me+gd") -> None:
    """What of a finished run is read: its records and results.json."""
    for stage, sets in (("before", before), ("after", after)):
        for name, rows in sets.items():
            write_records(folder / "records" / stage / f"{name}.jsonl", rows)
    first, last = (score_records(sets, "closer-look") for sets in (before, after))
    results = Results(definition="closer-look", method=method, before=first, after=last)
    write_json(folder / "results.json", results.to_json())
    (folder / "config.yaml").touch()
    (folder / "manifest.json").write_text("{}")
