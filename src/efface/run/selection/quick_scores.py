"""A score of a model in training, on a few questions: how much utility it kept, and how much it forgot."""

from __future__ import annotations

from typing import Any

from efface.artifacts import Metric, UncountedMetric
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import EncodedQuestion, encode_evaluation
from efface.evaluation.evaluate import evaluate
from efface.evaluation.judging.judges import Judges
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.packing.forward import evaluation_mode
from efface.records import RecordSets
from efface.run.selection.held_out import QUICK_FACTS, HeldOut, quick_sets, records_of
from efface.scores import definition
from efface.scores.kept import Kept, check_reachable, facts_to_keep, is_gone, kept
from efface.scores.sets import FORGET
from efface.text.formatter import PromptFormatter
from efface.train.distribution.parallel import ParallelModel


class QuickScores:
    """Scores models by likelihoods and outputs, for a few questions of the retain sets and of the forget set.

    Models that judge outputs are left out.
    """

    def __init__(
        self,
        held_out: HeldOut,
        before: RecordSets,
        *,
        formatter: PromptFormatter,
        config: EvaluateConfig,
        definition_name: str,
        own_answers: bool,
    ) -> None:
        """Choose the questions.

        Args:
            held_out: What may be looked at, and what is reported.
            before: Records of the model before unlearning, of all that may be looked at.
            formatter: Tokenizer and prompt format.
            config: How the models are evaluated.
            definition_name: Name of the score definition.
            own_answers: As for `efface.scores.kept.kept`.

        Raises:
            EffaceError: A record is missing.
        """
        self._sets = quick_sets(held_out.searched, facts_to_keep(before))
        self._before = records_of(self._sets, before)
        self._unseen = held_out.unseen
        self._own_answers = own_answers
        self._formatter = formatter
        self._config = config.model_copy(update={"limit": None})
        self._definition = definition(definition_name)
        self._judges = _judges_without_models(config)
        self._encoded: list[EncodedQuestion] = []

    def check(self, keep: float) -> None:
        """Refuse a bound that no score of these questions could show.

        Args:
            keep: Share of the utility that must be kept.

        Raises:
            EffaceError: The model before unlearning knows too few facts.
        """
        check_reachable(keep, self._before, most=QUICK_FACTS)

    def score(self, model: ParallelModel) -> tuple[Kept, bool]:
        """Score a model and leave it as it was.

        Args:
            model: The model in training.

        Returns:
            What it kept and forgot; whether the forget set is forgotten in its outputs.

        Raises:
            EffaceError: It gives log-probabilities that are not finite.
        """
        records = model.forward_in_step(self._evaluate)
        scores = kept(self._before, records, self._definition, unseen=self._unseen, own_answers=self._own_answers)
        return scores, is_gone(records[FORGET])

    def _evaluate(self, model: Any) -> RecordSets:
        if not self._encoded:
            self._encoded.extend(encode_evaluation(model, self._formatter, self._sets, self._config))
        with evaluation_mode(model):
            return evaluate(
                model,
                self._formatter,
                self._sets,
                config=self._config,
                judges=self._judges,
                before=self._before,
                questions=self._encoded,
            )


def _judges_without_models(config: EvaluateConfig) -> Judges:
    missing: dict[Metric | UncountedMetric, str] = {"cosine_similarity": "left out of scores during training"}
    if config.judge == KeyFactJudge.name:
        return Judges(None, KeyFactJudge(), missing)
    return Judges(None, None, {**missing, "entailment": "left out of scores during training"})
