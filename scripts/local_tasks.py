"""Write small tasks for lm-evaluation-harness that need no network: `python scripts/local_tasks.py DIR`.

One each of the kinds of ARC, TruthfulQA, MMLU, TriviaQA and GSM8K. The task files name their data by absolute paths, so
write them where they are to stay. They are easy and few: they show that everything works, not how good a model is.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]

KINDS = {
    "an animal": ("dog", "cat", "horse", "elephant", "mouse", "tiger", "sheep", "eagle"),
    "a fruit": ("apple", "banana", "cherry", "grape", "lemon", "melon", "fig", "pear"),
    "a color": ("red", "blue", "green", "yellow", "purple", "brown", "white", "black"),
    "a tool": ("hammer", "saw", "screwdriver", "wrench", "drill", "shovel", "axe", "pliers"),
    "a vehicle": ("car", "bus", "train", "bicycle", "truck", "airplane", "ship", "tram"),
    "a musical instrument": ("piano", "violin", "guitar", "flute", "trumpet", "drum", "harp", "clarinet"),
    "a day of the week": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "a month": ("January", "February", "March", "April", "June", "July", "August", "October"),
}
CAPITALS = {
    "France": ("Paris", "Europe"),
    "Germany": ("Berlin", "Europe"),
    "Spain": ("Madrid", "Europe"),
    "Italy": ("Rome", "Europe"),
    "Portugal": ("Lisbon", "Europe"),
    "Greece": ("Athens", "Europe"),
    "Poland": ("Warsaw", "Europe"),
    "Sweden": ("Stockholm", "Europe"),
    "Norway": ("Oslo", "Europe"),
    "Finland": ("Helsinki", "Europe"),
    "Austria": ("Vienna", "Europe"),
    "Hungary": ("Budapest", "Europe"),
    "Japan": ("Tokyo", "Asia"),
    "Thailand": ("Bangkok", "Asia"),
    "South Korea": ("Seoul", "Asia"),
    "Nepal": ("Kathmandu", "Asia"),
    "Mongolia": ("Ulaanbaatar", "Asia"),
    "Indonesia": ("Jakarta", "Asia"),
    "Iran": ("Tehran", "Asia"),
    "Iraq": ("Baghdad", "Asia"),
    "Cuba": ("Havana", "America"),
    "Peru": ("Lima", "America"),
    "Chile": ("Santiago", "America"),
    "Argentina": ("Buenos Aires", "America"),
    "Mexico": ("Mexico City", "America"),
    "Egypt": ("Cairo", "Africa"),
    "Kenya": ("Nairobi", "Africa"),
    "Ghana": ("Accra", "Africa"),
    "Ethiopia": ("Addis Ababa", "Africa"),
    "Algeria": ("Algiers", "Africa"),
}
CONTINENTS = ("Europe", "Asia", "America", "Africa")
NOT_THE_CAPITAL = {
    "Australia": ("Canberra", "Sydney", "Melbourne"),
    "Brazil": ("Brasília", "Rio de Janeiro", "São Paulo"),
    "Canada": ("Ottawa", "Toronto", "Montreal"),
    "China": ("Beijing", "Shanghai", "Guangzhou"),
    "Ecuador": ("Quito", "Guayaquil", "Cuenca"),
    "Germany": ("Berlin", "Munich", "Hamburg"),
    "India": ("New Delhi", "Mumbai", "Kolkata"),
    "Italy": ("Rome", "Milan", "Naples"),
    "Kazakhstan": ("Astana", "Almaty", "Shymkent"),
    "Malta": ("Valletta", "Sliema", "Birkirkara"),
    "Morocco": ("Rabat", "Casablanca", "Marrakesh"),
    "Myanmar": ("Naypyidaw", "Yangon", "Mandalay"),
    "New Zealand": ("Wellington", "Auckland", "Christchurch"),
    "Nigeria": ("Abuja", "Lagos", "Kano"),
    "Pakistan": ("Islamabad", "Karachi", "Lahore"),
    "Poland": ("Warsaw", "Kraków", "Gdańsk"),
    "Scotland": ("Edinburgh", "Glasgow", "Aberdeen"),
    "Spain": ("Madrid", "Barcelona", "Valencia"),
    "Switzerland": ("Bern", "Zurich", "Geneva"),
    "Syria": ("Damascus", "Aleppo", "Homs"),
    "Tanzania": ("Dodoma", "Dar es Salaam", "Arusha"),
    "Turkey": ("Ankara", "Istanbul", "Izmir"),
    "the United States": ("Washington", "New York", "Los Angeles"),
    "Vietnam": ("Hanoi", "Ho Chi Minh City", "Da Nang"),
}
NAMES = ("Anna", "Ben", "Clara", "David", "Eva", "Felix", "Greta", "Henry")
THINGS = ("apples", "books", "coins", "eggs", "pens", "shells", "stamps", "tickets")
LETTERS = ("A", "B", "C", "D")


def main(folder: Path) -> None:
    """Write the task files and their data into `folder`, the same ones every time."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name, settings, splits in _tasks():
        files = {split: str(folder / f"{name}.{split}.jsonl") for split in splits}
        for split, rows in splits.items():
            _write(Path(files[split]), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        task = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": files}, **settings}
        _write(folder / f"{name}.yaml", yaml.safe_dump(task | {"metadata": {"version": 1.0}}, sort_keys=False))
    group = {
        "group": "local_mmlu",
        "task": ["local_mmlu_arithmetic", "local_mmlu_geography"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
        "metadata": {"version": 1.0},
    }
    _write(folder / "local_mmlu.yaml", yaml.safe_dump(group, sort_keys=False))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _tasks() -> Iterator[tuple[str, Row, dict[str, list[Row]]]]:
    """Name, settings and data of each task."""
    yield "local_arc", _arc_settings(), {"test": _arc()}
    yield "local_truthfulqa", _truthfulqa_settings(), {"validation": _truthfulqa()}
    for subject, rows in (("arithmetic", _sums()), ("geography", _continents())):
        yield f"local_mmlu_{subject}", _mmlu_settings(subject), {"dev": rows[:5], "test": rows[5:]}
    capitals = _triviaqa()
    yield "local_triviaqa", _triviaqa_settings(), {"train": capitals[:5], "validation": capitals[5:]}
    problems = _gsm8k()
    yield "local_gsm8k", _gsm8k_settings(), {"train": problems[:8], "test": problems[8:]}


def _arc() -> list[Row]:
    """Which of four words belongs to a category; 32 questions."""
    chance, rows = random.Random(0), []
    for number in range(32):
        kind = list(KINDS)[number % len(KINDS)]
        right = KINDS[kind][number // len(KINDS)]
        words = [right] + [chance.choice(KINDS[other]) for other in chance.sample(sorted(KINDS.keys() - {kind}), 3)]
        chance.shuffle(words)
        choices = {"text": words, "label": list(LETTERS)}
        rows.append(
            {"question": f"Which of these is {kind}?", "choices": choices, "answerKey": LETTERS[words.index(right)]}
        )
    return rows


def _arc_settings() -> Row:
    return {
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
        "doc_to_choice": "{{choices.text}}",
        "metric_list": [_mean("acc_norm"), _mean("acc")],
    }


def _truthfulqa() -> list[Row]:
    """Capitals that are often confused with another city; the correct one comes first; 24 questions."""
    return [
        {
            "question": f"What is the capital of {country}?",
            "mc1_targets": {"choices": [f"The capital of {country} is {city}." for city in cities]},
        }
        for country, cities in NOT_THE_CAPITAL.items()
    ]


def _truthfulqa_settings() -> Row:
    examples = (
        "Q: How many days are there in a week?\nA: There are seven days in a week.\n\n"
        "Q: What do bees make?\nA: Bees make honey.\n\n"
    )
    return {
        "output_type": "multiple_choice",
        "validation_split": "validation",
        "num_fewshot": 0,
        "doc_to_text": examples + "Q: {{question}}\nA:",
        "doc_to_target": 0,
        "doc_to_choice": "{{mc1_targets.choices}}",
        "metric_list": [_mean("acc")],
    }


def _sums() -> list[Row]:
    """Sums of two numbers below 20, with three close alternatives; 25 questions."""
    chance, rows = random.Random(1), []
    for left, right in chance.sample([(left, right) for left in range(2, 20) for right in range(2, 20)], 25):
        total = left + right
        choices = [total, *chance.sample([total - 2, total - 1, total + 1, total + 2, total + 10], 3)]
        chance.shuffle(choices)
        question = f"What is {left} plus {right}?"
        rows.append({"question": question, "choices": [str(each) for each in choices], "answer": choices.index(total)})
    return rows


def _continents() -> list[Row]:
    """On which of four continents a country is; 25 questions."""
    countries = random.Random(2).sample(sorted(CAPITALS), 25)
    return [
        {
            "question": f"On which continent is {country}?",
            "choices": list(CONTINENTS),
            "answer": CONTINENTS.index(CAPITALS[country][1]),
        }
        for country in countries
    ]


def _mmlu_settings(subject: str) -> Row:
    choices = "".join(f"{letter}. {{{{choices[{place}]}}}}\n" for place, letter in enumerate(LETTERS))
    return {
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": 5,
        "description": f"The following are multiple choice questions (with answers) about {subject}.\n\n",
        "doc_to_text": "{{question}}\n" + choices + "Answer:",
        "doc_to_choice": list(LETTERS),
        "doc_to_target": "answer",
        "metric_list": [_mean("acc")],
    }


def _triviaqa() -> list[Row]:
    """Capitals, to be generated; 5 examples and 25 questions."""
    return [
        {"question": f"What is the capital of {country}", "answer": {"aliases": [city, f"the city of {city}"]}}
        for country, (city, _) in CAPITALS.items()
    ]


def _triviaqa_settings() -> Row:
    return {
        "output_type": "generate_until",
        "training_split": "train",
        "fewshot_split": "train",
        "validation_split": "validation",
        "num_fewshot": 5,
        "doc_to_text": "Question: {{question}}?\nAnswer:",
        "doc_to_target": "{{answer.aliases}}",
        "generation_kwargs": {"until": ["\n", ".", ","], "do_sample": False, "max_gen_toks": 16},
        "filter_list": [
            {"name": "remove_whitespace", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
        ],
        "metric_list": [_mean("exact_match") | {"ignore_case": True, "ignore_punctuation": True}],
    }


def _gsm8k() -> list[Row]:
    """Word problems of one step; 8 examples and 24 questions."""
    chance, rows = random.Random(3), []
    for number in range(32):
        name, thing = NAMES[number % 8], THINGS[number // 4]
        has, more = chance.randint(5, 20), chance.randint(2, 5)
        verb, sign, total = ("buys", "+", has + more) if number % 2 else ("gives away", "-", has - more)
        question = f"{name} has {has} {thing} and {verb} {more} of them. How many {thing} does {name} have then?"
        if verb == "buys":
            question = f"{name} has {has} {thing} and buys {more} more. How many {thing} does {name} have then?"
        rows.append(
            {"question": question, "answer": f"{name} has {has} {sign} {more} = {total} {thing}.\n#### {total}"}
        )
    return rows


def _gsm8k_settings() -> Row:
    def extract(name: str, pattern: str, **settings: Any) -> Row:
        return {
            "name": name,
            "filter": [{"function": "regex", "regex_pattern": pattern, **settings}, {"function": "take_first"}],
        }

    return {
        "output_type": "generate_until",
        "training_split": "train",
        "fewshot_split": "train",
        "test_split": "test",
        "num_fewshot": 5,
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 48},
        "filter_list": [
            extract("flexible-extract", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1),
            extract("strict-match", r"#### (\-?[0-9\.\,]+)"),
        ],
        "metric_list": [
            _mean("exact_match") | {"ignore_case": True, "regexes_to_ignore": [",", r"\$", "(?s).*#### ", r"\.$"]}
        ],
    }


def _mean(metric: str) -> Row:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
