r"""A custom objective and a custom metric in one run. Both of these commands do the same:

    python examples/custom_objective_and_metric.py path/to/model forget.jsonl retain.jsonl
    efface run method=capped+gd plugins=examples/custom_objective_and_metric.py \
        model=path/to/model data.forget=forget.jsonl data.retain=retain.jsonl --out runs/capped

A plug-in is code that runs with your permissions: efface only imports the files that you name.
"""

from __future__ import annotations

import math
import sys

from torch import Tensor

import efface


class Capped(efface.ForgetObjective):
    """Gradient ascent that leaves a token alone once its probability is below `floor`."""

    name = "capped"
    floor = 0.01

    def term(self, config: efface.ObjectiveConfig) -> efface.Term:
        """How far the log-probability of each token of the answer is above that of the floor, or 0."""

        def loss(logp_N: Tensor) -> Tensor:
            return (logp_N - math.log(self.floor)).clamp(min=0)

        return efface.TokenTerm("forget", loss)


class Declines(efface.RecordMetric):
    """The share of questions that the model declines to answer."""

    name = "declines"
    phrases = ("don't know", "do not know", "not sure", "no idea", "can't help", "cannot help")

    def score(self, record: efface.Record) -> float:
        """1 if the output contains one of the phrases, else 0."""
        output = record.output.lower().replace("’", "'")
        return float(any(phrase in output for phrase in self.phrases))


def main(model: str, forget: str, retain: str) -> None:
    """Unlearn with capped gradient ascent, and print how often the model declines before and after."""
    done = efface.unlearn(model, forget=forget, retain=retain, method="capped+gd", plugins=[Capped, Declines])
    for stage in (done.results.before, done.results.after):
        print({name: scores.custom["declines"] for name, scores in stage.sets.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
