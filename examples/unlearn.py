"""Unlearn a forget set with a retain set, and look at the result: efface as a library.

    python examples/unlearn.py path/to/model forget.jsonl retain.jsonl runs/first

The files contain one question and answer per line; CSV, Parquet, chats and documents work too. ME+GD is for a retain
set that is like the forget set; with retain="model-answers", use me+kl (docs/methods/index.md).
"""

from __future__ import annotations

import sys
from typing import Any

import efface


def main(model: str, forget: str, retain: str, out: str, **settings: Any) -> None:
    """Write a run to the folder `out`; `settings` are those of a config file, such as train={"lr": 1e-5}."""
    done = efface.unlearn(model, forget=forget, retain=retain, method="me+gd", out=out, **settings)

    for name, scores in (("before", done.results.before), ("after", done.results.after)):
        forget_set = scores.sets["forget"]
        print(f"{name}: ROUGE on forget {forget_set.rouge:.3f}, utility {scores.partial.model_utility:.3f}")
    for record in done.records["after"]["forget"][:3]:
        print(f"{record.question!r} is now answered with {record.output!r}")

    prompt = done.tokenizer("Hello, my name is", return_tensors="pt")  # a transformers model
    print(done.tokenizer.decode(done.model.generate(**prompt, max_new_tokens=8)[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
