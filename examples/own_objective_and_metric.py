r"""An objective and a metric of your own, in one run. Either of these does the same:

    python examples/own_objective_and_metric.py path/to/model forget.jsonl retain.jsonl
    efface run method=wga+gd plugins=examples/own_objective_and_metric.py \
        model=path/to/model data.forget=forget.jsonl data.retain=retain.jsonl --out runs/wga

A plug-in is code that runs with your rights: efface imports the files that you name, and no others.
"""

from __future__ import annotations

import sys

from torch import Tensor

import efface


class WGA(efface.ForgetObjective):
    """Weighted gradient ascent: tokens that are unlikely by now count less. arXiv:2502.19301."""

    name = "wga"
    alpha = 1.0

    def term(self, config: efface.ObjectiveConfig) -> efface.Term:
        """The answer's tokens, each weighted with its probability to the power `alpha`, a constant to the gradient."""

        def loss(logp_N: Tensor) -> Tensor:
            return logp_N.detach().exp() ** self.alpha * logp_N

        return efface.TokenTerm("forget", loss)


class Declines(efface.RecordMetric):
    """The share of questions that the model declines to answer."""

    name = "declines"
    phrases = ("don't know", "do not know", "not sure", "no idea", "can't help", "cannot help")

    def score(self, record: efface.Record) -> float:
        """1 where the output holds one of the phrases, else 0."""
        said = record.output.lower().replace("’", "'")
        return float(any(phrase in said for phrase in self.phrases))


def main(model: str, forget: str, retain: str) -> None:
    """Forget by weighted gradient ascent, and say how often the model declines, before and after."""
    done = efface.unlearn(model, forget=forget, retain=retain, method="wga+gd", plugins=[WGA, Declines])
    for stage in (done.results.before, done.results.after):
        print({name: scores.custom["declines"] for name, scores in stage.sets.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
