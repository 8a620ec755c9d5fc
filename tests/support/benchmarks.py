"""Small local copies of benchmarks, in the shape of the published ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Rows = Sequence[Mapping[str, object]]
PLACES = ("Lisbon", "Oslo", "Quito", "Riga")


def write_benchmark(folder: Path, files: Mapping[str, Rows]) -> Path:
    """Write `folder`/NAME.json in JSON lines; returns the folder above, for --data-dir."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        (folder / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder.parent


def articles(what: str, count: int = 3) -> list[dict[str, object]]:
    """Texts of two sentences each, different for each `what`."""
    first, second = "The {} of {} opened in {}.", "It was built by {} number {}."
    return [
        {"text": f"{first.format(what, PLACES[number % 4], 1900 + number)} {second.format(what, number)}"}
        for number in range(count)
    ]


def questions(what: str, count: int = 2) -> list[dict[str, object]]:
    """Short questions and answers."""
    return [{"question": f"When did {what} {n} open?", "answer": str(1900 + n)} for n in range(count)]


def muse(data_dir: Path, *, corpus: str = "news") -> Path:
    """A small MUSE News or Books; returns the data folder."""
    files: dict[str, Rows] = {
        "raw_forget": articles("museum"),
        "raw_retain1": articles("library", 4),
        "raw_retain2": articles("theater"),
        "verbmem_forget": [{"prompt": "The museum of Lisbon", "gt": "opened in 1900."}],
        "knowmem_forget_qa": questions("museum"),
        "knowmem_forget_qa_icl": questions("gallery", 1),
        "knowmem_retain_qa": questions("theater"),
        "knowmem_retain_qa_icl": questions("cinema", 1),
        "privleak_forget": articles("museum", 2),
        "privleak_holdout": articles("harbor", 2),
    }
    if corpus == "news":
        requests = [articles(what) for what in ("museum", "tunnel", "bridge", "station")]
        files |= {f"sust_forget_{n}": rows for n, rows in enumerate(requests, 1)}
        files |= {f"scal_forget_{n}": [row for rows in requests[:n] for row in rows] for n in range(1, 5)}
    return write_benchmark(data_dir / f"muse_{corpus}", files)


def wmdp(data_dir: Path, *, corpus: str = "cyber") -> Path:
    """A small WMDP; returns the data folder."""
    wikitext = [{"text": ""}, {"text": " = Heading = \n"}, *articles("castle", 3)]
    files: dict[str, Rows] = {"forget": articles("malware"), "retain": articles("compiler"), "wikitext": wikitext}
    return write_benchmark(data_dir / f"wmdp_{corpus}", files)


def tofu(data_dir: Path) -> Path:
    """A small TOFU with two tasks of forget01 and its holdout set; returns the data folder."""

    def perturbed(rows: Rows) -> Rows:
        wrong = {"paraphrased_answer": "In that year.", "perturbed_answer": ["1800", "1801"]}
        return [{**row, "paraphrased_question": f"So: {row['question']}", **wrong} for row in rows]

    forget = [{**row, "task_id": str(task)} for task in (1, 2) for row in questions(f"museum of task {task},", 3)]
    files: dict[str, Rows] = {
        "forget01": forget,
        "forget01_perturbed": perturbed(forget),
        "retain90": questions("library", 4),
        "holdout01": questions("harbor", 3),
        **{
            f"{name}_perturbed": perturbed(questions(what))
            for name, what in (("retain", "library"), ("real_authors", "theater"), ("world_facts", "tower"))
        },
    }
    return write_benchmark(data_dir / "tofu", files)
