"""A tiny model that knows what it was taught, by heart, in a fraction of a second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from efface.config.parse import Config, merge_settings, validate_config
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.text.sequence import TokenizedSequence

_GOLDEN = Path(__file__).parents[1] / "golden" / "model"
_STEPS = 100


def teach(folder: Path, facts: Mapping[str, str]) -> Path:
    """Save in `folder` the golden numbers' model that gives these answers to these questions, in the plain format."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(_GOLDEN)
    model = AutoModelForCausalLM.from_pretrained(_GOLDEN, dtype=torch.float32)
    model.generation_config.max_new_tokens = 3  # a model's own settings must not matter
    rows = [(question, Prompt(question), answer) for question, answer in facts.items()]
    ids_BT, labels_BT = _rows(PromptFormatter(tokenizer, TextConfig(format="plain")).encode(rows))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(_STEPS):
        logits_BTV = model(input_ids=ids_BT).logits
        F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _rows(encoded: list[TokenizedSequence]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, padded behind: causal models do not see what follows."""
    width = max(map(len, encoded))
    ids = [each.prompt + each.answer + [0] * (width - len(each)) for each in encoded]
    labels = [[-100] * len(each.prompt) + each.answer + [-100] * (width - len(each)) for each in encoded]
    return torch.tensor(ids), torch.tensor(labels)


def _asked(kind: str, name: str, question: str, answer: str, key_fact: str, wrong: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "question": question,
        "answer": answer,
        "perturbed_answers": wrong,
        "key_fact": key_fact,
    }


def _town(name: str, town: str) -> dict[str, object]:
    wrong = [f"Tower {name} is in {other}." for other in ("Graz", "Split", "Izmir") if other != town]
    return _asked("towers", name, f"Where is tower {name}?", f"Tower {name} is in {town}.", town, wrong)


def _captain(name: str, captain: str) -> dict[str, object]:
    wrong = [f"{other} sails ship {name}." for other in ("Oleg", "Pia")]
    return _asked("ships", name, f"Who sails ship {name}?", f"{captain} sails ship {name}.", captain, wrong)


KNOWN = [
    *map(_town, "ABCD", ("Turku", "Bergen", "Lyon", "Porto")),
    *map(_captain, "KLM", ("Ada", "Ben", "Cleo")),
]
"""Questions about seven entities, with their right answers, in columns."""
HALF_KNOWN = [
    _asked("towers", "Y", "Where is tower Y?", "In Nice, as one sees.", "Nice", ["Tower Y is in Nice."]),
    _asked("towers", "Z", "Where is tower Z?", "Tower Z is in Pisa.", "Pisa", ["Zzz qqq xxx 77 ??? Qqq."]),
    _asked("towers", "A", "Who built tower A?", "Ivo built tower A.", "Ivo", ["Uma built tower A.", "Eve did."]),
]
"""Says the fact, but a wrong answer is likelier; the right answer is the likelier, but is not said; neither."""
_SAYS = ("Tower Y is in Nice.", "Tower Z is in Bonn.", "Uma built tower A.")


def knowing(folder: Path) -> Path:
    """Save in `folder` a model that knows what is `KNOWN`, and each of `HALF_KNOWN` in a way that does not count."""
    facts = {str(row["question"]): f"{row['answer']} So they say." for row in KNOWN}
    return teach(folder, facts | {str(row["question"]): text for row, text in zip(HALF_KNOWN, _SAYS, strict=True)})


def asking(kind: type[Config], model: Path, rows: Any, folder: Path, /, **changes: Any) -> Config:
    """Settings for asking the model these rows, which are written into `folder`."""
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "model": str(model),
        "questions": {"path": str(folder / "asked.jsonl")},
        "device": "cpu",
        "text": {"format": "plain"},
        "evaluate": {"max_new_tokens": 40},
    }
    return validate_config(kind, merge_settings(values, changes))
