r"""A custom objective and a custom metric in one run. Both of these commands do the same:

    python examples/custom_objective_and_metric.py path/to/model forget.jsonl retain.jsonl
    efface run method=wga+gd plugins=examples/custom_objective_and_metric.py \
        model=path/to/model data.forget=forget.jsonl data.retain=retain.jsonl --out runs/wga

A plug-in is code that runs with your permissions: efface only imports the files that you name.
"""

from __future__ import annotations

import sys

from torch import Tensor

import efface


class WGA(efface.ForgetObjective):
    """Weighted gradient ascent: tokens that are already unlikely count less. arXiv:2502.19301."""

    name = "wga"
    alpha = 1.0

    def term(self, config: efface.ObjectiveConfig) -> efface.Term:
        """The answer's tokens, each weighted by its probability to the power `alpha`, without gradient."""

        def loss(logp_N: Tensor) -> Tensor:
            return logp_N.detach().exp() ** self.alpha * logp_N

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
    """Unlearn with weighted gradient ascent, and print how often the model declines before and after."""
    done = efface.unlearn(model, forget=forget, retain=retain, method="wga+gd", plugins=[WGA, Declines])
    for stage in (done.results.before, done.results.after):
        print({name: scores.custom["declines"] for name, scores in stage.sets.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
