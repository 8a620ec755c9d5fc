"""efface's losses in a training loop of your own: a Trainer of transformers whose loss is that of an unlearning method.

    python examples/transformers_trainer.py path/to/model forget.jsonl retain.jsonl runs/trainer

Everything else is the Trainer's: callbacks, logging, checkpoints, schedules, accelerators. The files contain one
question and answer per line. `efface evaluate` scores the model that it leaves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

import efface

TokenIds = dict[str, list[int]]


class UnlearningTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed
    """A Trainer that minimizes `forget_coeff` x forget loss + `retain_coeff` x retain loss.

    A batch maps the views of the method, such as `forget` and `retain`, to token ids: see `efface.losses`.
    """

    def __init__(
        self,
        *arguments: Any,
        method: str,
        forget_coeff: float = 1.0,
        retain_coeff: float = 1.0,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self.method, self.options = method, dict(options or {})
        self.forget_coeff, self.retain_coeff = forget_coeff, retain_coeff

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """The loss of one batch; transformers calls it."""
        parts = efface.losses(model, inputs, method=self.method, **self.options)
        loss = self.forget_coeff * parts.forget + self.retain_coeff * parts.retain
        return (loss, {}) if return_outputs else loss


def views(items: Sequence[Mapping[str, TokenIds]]) -> dict[str, list[TokenIds]]:
    """A data collator: item i of `forget` and item i of `retain` belong together."""
    return {name: [item[name] for item in items] for name in items[0]}


def encode(tokenizer: Any, path: str) -> list[TokenIds]:
    """Token ids of prompts and answers, which end with the end-of-sequence token."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        {
            "prompt": tokenizer(f"Question: {row['question']}\nAnswer:").input_ids,
            "answer": [*tokenizer(f" {row['answer']}", add_special_tokens=False).input_ids, tokenizer.eos_token_id],
        }
        for row in rows
    ]


def main(model: str, forget: str, retain: str, out: str, **arguments: Any) -> UnlearningTrainer:
    """Train; `arguments` are those of transformers' TrainingArguments."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    to_forget, to_retain = encode(tokenizer, forget), encode(tokenizer, retain)
    pairs = [{"forget": item, "retain": to_retain[i % len(to_retain)]} for i, item in enumerate(to_forget)]
    settings: dict[str, Any] = {"learning_rate": 1e-5, "num_train_epochs": 5, "per_device_train_batch_size": 4}
    trainer = UnlearningTrainer(
        AutoModelForCausalLM.from_pretrained(model),
        TrainingArguments(out, remove_unused_columns=False, report_to="none", **{**settings, **arguments}),
        method="me+gd",
        train_dataset=pairs,
        data_collator=views,
    )
    trainer.train()
    trainer.save_model(out)
    tokenizer.save_pretrained(out)
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:])
