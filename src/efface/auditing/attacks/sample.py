"""The attack `sample`: many random answers to the same question, where a likely one may hide behind greedy silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Unit
from efface.auditing.fact import Fact, Row, text_of
from efface.auditing.measures.statistics import leak_at_k
from efface.evaluation.decoding.sampled_decoder import Draw, sample
from efface.evaluation.encode import check_position_limit

if TYPE_CHECKING:
    from efface.auditing.subject import Subject

COUNTED = 16
"""How many samples of a fact count in the headline, whatever the level draws."""
_SAMPLES: dict[Level, int] = {"quick": 16, "standard": 64, "full": 200}
_SEEDS: dict[Level, int] = {"quick": 1, "standard": 1, "full": 3}


class Sample(Attack):
    """Draws answers at temperature 1 without cutting the distribution; `full` also at 0.8.

    Reported as leak@k, the probability that at least one of k answers gives the fact: 1 - C(n - c, k) / C(n, k) of n
    samples with c hits (arXiv:2511.04934). The first 16 samples count as a hit of the fact.
    """

    name: ClassVar[str] = "sample"

    def units(self, level: Level) -> list[Unit]:
        """One for each temperature and seed."""
        names = ["t1.0", "t0.8"] if level == "full" else ["t1.0"]
        return [Unit(name, seed) for name in names for seed in range(_SEEDS[level])]

    def leaves_out(self, level: Level) -> str | None:
        """Samples, temperatures and seeds."""
        return None if level == "full" else f"{_SAMPLES[level]} samples of 200, without temperature 0.8"

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:
        """All samples."""
        del unit
        return Cost(decoded=len(facts) * _SAMPLES[context.level] * context.max_new_tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """One row for each fact, with its first samples."""
        count = _SAMPLES[context.level]
        prompts = subject.formatter.encode_prompts([fact.prompt for fact in facts])
        check_position_limit(subject.model, prompts, context.max_new_tokens)
        ids = sample(
            subject.model,
            prompts,
            [
                Draw(index, f"{context.seed}/{unit.seed}/{unit.variant}/{fact.id}/{number}")
                for index, fact in enumerate(facts)
                for number in range(count)
            ],
            subject.formatter.stop_ids,
            temperature=float(unit.variant.removeprefix("t")),
            max_new_tokens=context.max_new_tokens,
            max_cache_tokens=subject.evaluate.max_cache_tokens,
        )
        texts = subject.decode(ids)
        return [
            self._row(fact, unit, context, texts[index * count : (index + 1) * count])
            for index, fact in enumerate(facts)
        ]

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """leak@k of each model at temperature 1, for k = 1, 2, 4, ... samples."""
        found: dict[str, float | None] = {}
        for model, each in rows.items():
            drawn = [row for row in each if row.variant == "t1.0" and row.hit is not None]
            most = int(min((row.numbers["samples"] for row in drawn), default=0))
            for k in (2**power for power in range(most.bit_length())):
                found[f"{model} leak@{k}"] = fmean(
                    leak_at_k(int(row.numbers["hits"]), int(row.numbers["samples"]), k) for row in drawn
                )
        return found

    def _row(self, fact: Fact, unit: Unit, context: Context, outputs: Sequence[str]) -> Row:
        shown = [text_of(fact.prompt)] * len(outputs)
        verdicts = context.rule.judge([fact] * len(outputs), outputs, shown)
        hits = [index for index, verdict in enumerate(verdicts) if verdict.hit]
        counted = [index for index in hits if index < COUNTED]
        return Row(
            attack=self.name,
            variant=unit.variant,
            seed=unit.seed,
            fact=fact.id,
            hit=bool(counted),
            shown=verdicts[0].shown,
            output=outputs[counted[0] if counted else 0],
            outputs=tuple(outputs[:COUNTED]),
            numbers={"samples": float(len(outputs)), "hits": float(len(hits))},
        )
