"""both-models: what the difference to the model before unlearning gives away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row, text_of
from efface.auditing.subject import Subject
from efface.packing.forward import device_of, evaluation_mode
from efface.scores.means import mean
from efface.scores.metrics.rouge import rouge_l_recall

GUIDANCE = 2.0
PLAUSIBLE = 3.0
"""Nats below the likeliest token of the model before within which a token may be chosen."""


class BothModels(Attack):
    """Decoding against the unlearned model: log p_after + w (log p_before - log p_after), w = 2.

    arXiv:2505.24379: even retraining leaks what was deleted to whoever has both models. Only tokens within 3 nats of
    the likeliest of the model before are allowed (ours). No part of the headline, since the model before knows anyway:
    it says how much more of the wording the pair gives than that model alone. A warning against keeping, publishing or
    logging it.
    """

    name: ClassVar[str] = "both-models"
    tier: ClassVar[Tier] = "both"
    needs_before: ClassVar[bool] = True
    in_union: ClassVar[bool] = False

    def units(self, level: Level) -> list[Unit]:  # noqa: ARG002
        """One strength of guidance."""
        return [Unit(f"guidance-{GUIDANCE:g}")]

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:  # noqa: ARG002
        """Two models decode each answer together, and the model before alone."""
        return Cost(decoded=3 * len(facts) * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """Guided answers, with their ROUGE-L recall and that of the model before alone."""
        if subject.name == "before":
            return []
        prompts = [fact.prompt for fact in facts]
        ids = subject.formatter.encode_prompts(prompts)
        stops = frozenset(subject.formatter.stop_ids)
        with context.models["before"].opened() as before, evaluation_mode(subject.model):
            alone = before.answer(prompts, max_new_tokens=context.max_new_tokens)
            guided = [
                guided_decode(before.model, subject.model, each, stops, max_new_tokens=context.max_new_tokens)
                for each in ids
            ]
        outputs = subject.decode(guided)
        numbers = [
            {
                "rouge_guided": rouge_l_recall(fact.answer, output),
                "rouge_before": rouge_l_recall(fact.answer, own),
                "rouge_guided_other": rouge_l_recall(_other(index, facts).answer, output),
            }
            for index, (fact, output, own) in enumerate(zip(facts, outputs, alone, strict=True))
        ]
        shown = [text_of(prompt) for prompt in prompts]
        return self.rows_of_outputs(facts, unit, context, outputs=outputs, shown=shown, numbers=numbers)

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Mean recall of the pair, of the model before alone, of another fact's answer, and what the pair adds."""
        found: dict[str, float | None] = {}
        for model, listed in rows.items():
            if listed:
                names = ("rouge_guided", "rouge_before", "rouge_guided_other")
                means = {name: mean([row.numbers[name] for row in listed]) for name in names}
                found |= {f"{name}_{model}": value for name, value in means.items()}
                found[f"rouge_added_{model}"] = means["rouge_guided"] - means["rouge_before"]
        return found


@torch.no_grad()
def guided_decode(
    before: Any, after: Any, prompt: Sequence[int], stops: frozenset[int], *, max_new_tokens: int
) -> list[int]:
    """Decode greedily by two models.

    Args:
        before: The model before unlearning.
        after: The unlearned model, with the same vocabulary.
        prompt: Token ids.
        stops: Ids that end the answer.
        max_new_tokens: Most tokens of the answer.

    Returns:
        The ids that were chosen, without the one that ends the answer.
    """
    chosen: list[int] = []
    steps = [_Stepper(before), _Stepper(after)]
    new = list(prompt)
    while len(chosen) < max_new_tokens:
        logp_before, logp_after = (step.logprobs(new) for step in steps)
        token = int(guided_scores(logp_before, logp_after.to(logp_before.device)).argmax())
        if token in stops:
            break
        chosen.append(token)
        new = [token]
    return chosen


def guided_scores(
    logp_before_V: Tensor, logp_after_V: Tensor, *, guidance: float = GUIDANCE, plausible: float = PLAUSIBLE
) -> Tensor:
    """Scores of the next token: log p_after + w (log p_before - log p_after), arXiv:2505.24379.

    Args:
        logp_before_V: Natural-log probabilities of the model before.
        logp_after_V: Of the unlearned model.
        guidance: w; 1 gives the model before.
        plausible: Tokens that are further below the likeliest of the model before are excluded, in nats.

    Returns:
        Scores [V]; -inf for excluded tokens.
    """
    scores = logp_after_V + guidance * (logp_before_V - logp_after_V)
    return scores.masked_fill(logp_before_V < logp_before_V.max() - plausible, -torch.inf)


class _Stepper:
    """One model that reads a text bit by bit."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None

    def logprobs(self, ids: Sequence[int]) -> Tensor:
        """Log-probabilities [V] of the token after some more."""
        output = self._model(
            input_ids=torch.tensor([ids], device=device_of(self._model)), past_key_values=self._cache, use_cache=True
        )
        self._cache = output.past_key_values
        logprobs: Tensor = output.logits[0, -1].float().log_softmax(dim=-1)
        return logprobs


def _other(index: int, facts: Sequence[Fact]) -> Fact:
    """The next fact of the same type; the fact itself where there is no other."""
    following = [*facts[index + 1 :], *facts[:index]]
    return next((each for each in following if each.answer_type == facts[index].answer_type), facts[index])
