"""Folders of records as an evaluation writes them: TOFU's sets, invented outputs, random log-probabilities.

python benchmarks/stored_records.py FOLDER COUNT
python benchmarks/stored_records.py --run FOLDER COUNT    # a complete run: records before and after, and results.json
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from efface.artifacts import Results, Scores
from efface.files.folders import STAGES, RunPaths
from efface.records import Record
from efface.schema import EvaluationSet, Item, Task
from efface.scores import score_path
from workload import load_text

_DEFINITION = "closer-look"
_LETTERS_PER_TOKEN = 4.2
"""Average of TOFU's answers with Llama's tokenizers."""
_LONGEST_OUTPUT = 128
"""Tokens of an output that never ends."""


def write_stored_records(folder: Path, count: int, seed: int = 0) -> str:
    """Write `count` records, distributed over the evaluation sets as in TOFU, and return the name of the task.

    The same `count` and `seed` give the same files. Items repeat with new ids and new outputs.
    """
    task, _ = load_text()
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(len(each.items) for each in task.evaluation)
    left = count
    for each in task.evaluation:
        share = left if each is task.evaluation[-1] else count * len(each.items) // total
        left -= share
        with (folder / f"{each.name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(record.model_dump_json() + "\n" for record in _records(task, each, share, seed))
    return task.name


def write_stored_run(folder: Path, count: int) -> str:
    """Write the folder of a complete run of `count` questions, without a model, and return the name of the task."""
    paths = RunPaths(folder)
    name = ""
    for seed, stage in enumerate(STAGES):
        name = write_stored_records(paths.records(stage), count, seed)
    paths.config.write_text(f"definition: {_DEFINITION}\nmethod: me+gd\n", encoding="utf-8")
    results = Results(
        definition=_DEFINITION, method="me+gd", **{stage: _scores(paths.records(stage)) for stage in STAGES}
    )
    paths.results.write_text(json.dumps(results.to_json()), encoding="utf-8")
    return name


def _scores(records: Path) -> Scores:
    values = score_path(records, definition=_DEFINITION)
    return Scores.model_validate({name: values[name] for name in Scores.model_fields if name in values})


def _records(task: Task, evaluated: EvaluationSet, count: int, seed: int) -> Iterator[Record]:
    chance = random.Random(f"{seed}/{evaluated.name}/{count}")
    for number in range(count):
        item = evaluated.items[number % len(evaluated.items)]
        yield _record(chance, task, evaluated, item, f"{item.id}/{number // len(evaluated.items)}")


def _record(chance: random.Random, task: Task, evaluated: EvaluationSet, item: Item, id_: str) -> Record:
    output = _output(chance, task, item)
    paraphrased = item.paraphrased_answer
    return Record(
        set=evaluated.name,
        id=id_,
        question=item.question,
        answer=item.scored_answer,
        output=output,
        output_token_ids=[chance.randrange(32000) for _ in range(_tokens(output) - 1)],
        answer_logprobs=_logprobs(chance, item.scored_answer),
        paraphrased_logprobs=None if paraphrased is None else _logprobs(chance, paraphrased),
        perturbed_logprobs=[_logprobs(chance, answer) for answer in item.perturbed_answers],
        embedding_target=item.embedding_target,
        embedder="offline",
        cosine_answer=chance.random(),
        cosine_before=chance.random(),
        entailment_target=item.entailment_target,
        entailment_premise=evaluated.entailment_premise,
        judge="key-facts",
        entailment_label=chance.choice(["entailment", "neutral", "contradiction"]),
    )


def _output(chance: random.Random, task: Task, item: Item) -> str:
    """An output: half of them are nearly correct; the others are wrong, refuse, or never end."""
    kind = chance.random()
    if kind < 0.5:
        return " ".join(word for word in item.answer.split() if chance.random() < 0.8)
    if kind < 0.8:
        return chance.choice(task.retain).answer
    if kind < 0.9:
        return chance.choice(task.refusals)
    words = chance.choice(task.retain).answer.split()[:7]
    return " ".join((words * _LONGEST_OUTPUT)[: round(_LONGEST_OUTPUT * 0.75)])


def _logprobs(chance: random.Random, answer: str) -> list[float]:
    return [-chance.expovariate(2.0) for _ in range(_tokens(answer))]


def _tokens(text: str) -> int:
    """Approximate number of tokens, end of sequence included."""
    return 1 + max(1, round(len(text) / _LETTERS_PER_TOKEN))


if __name__ == "__main__":
    write = write_stored_run if sys.argv[1] == "--run" else write_stored_records
    print(write(Path(sys.argv[-2]), int(sys.argv[-1])))
