"""The interface of an attack of `efface audit`, built-in or custom. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from efface.auditing.fact import Fact, Row, text_of
from efface.schema import Item, Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from efface.auditing.audited_run import AuditedRunSettings
    from efface.auditing.subject import Subject

ModelName = Literal["before", "control", "after"]
"""The model before unlearning, one that never knew the facts, and the unlearned model; in the order of the passes."""
Tier = Literal["asks", "weights", "both"]
"""What an attacker needs: answers of the model, its weights, or the model before unlearning, too."""
Level = Literal["quick", "standard", "full"]


@dataclass(frozen=True)
class Unit:
    """The part of an attack that is run, timed and resumed as one: all facts under one variant and seed."""

    variant: str
    seed: int = 0


@dataclass(frozen=True)
class Cost:
    """Tokens of one unit, with which its time is predicted."""

    decoded: int = 0
    """Generated, over all prompts."""
    read: int = 0
    """In forward passes without a gradient: prompts, and answers whose likelihood is computed."""
    trained: int = 0
    """In training steps."""


@dataclass(frozen=True)
class HitVerdict:
    """What `Rule.judge` says about one output: the fields of a row with the same names."""

    hit: bool | None
    echo: bool
    shown: tuple[str, ...]


class Rule(Protocol):
    """Whether a fact came back."""

    def judge(
        self, facts: Sequence[Fact], outputs: Sequence[str], shown: Sequence[str], targets: Sequence[str] | None = None
    ) -> list[HitVerdict]:
        """Judge one output of each fact.

        Args:
            facts: What was asked.
            outputs: Of the model, without words that the attack forced.
            shown: All text that the attack gave besides the output: prompt, examples, forced words, training rows.
            targets: What an output is compared with where that is not the whole answer: the rest after forced words.
        """


@dataclass(frozen=True)
class Context:
    """What an attack knows besides the model under attack."""

    level: Level
    seed: int
    """Of the audit; random choices must depend on it and on nothing else, such as the batch."""
    max_new_tokens: int
    """Of short answers: the run's, at most 64."""
    facts: tuple[Fact, ...]
    """All that are audited (K), also where `run` gets a part."""
    retain: tuple[Item, ...]
    """Questions of the run's retain set; empty where it has none."""
    config: AuditedRunSettings
    """Of the audited run, such as `config.train`."""
    rule: Rule
    models: Mapping[ModelName, ModelAccess]
    """Each model that is available, besides the one under attack; `before` and `control` may be missing."""
    rows: Mapping[ModelName, Sequence[Row]] = field(default_factory=dict)
    """This attack's rows of the models that came before: those of `before` and `control` when `after` is attacked."""
    forget: tuple[Item, ...] = ()
    """The whole forget set, also what the model did not know."""
    holdout: tuple[Item, ...] = ()
    """Items like the facts that no model was trained on (`data.holdout`); empty where the run has none."""


class ModelAccess(Protocol):
    """A model that is on disk: one model is in memory at a time, so an attack should read single weights."""

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Each weight by its name in `named_parameters`, one after another, on the CPU."""

    def tensor(self, name: str) -> Tensor:
        """One weight, by its name in `named_parameters`, on the CPU."""

    def opened(self) -> AbstractContextManager[Subject]:
        """Load the whole model, beside the one under attack, for the block."""


class Attack(ABC):
    """One way to bring facts back.

    A class without constructor arguments, loaded with `plugins=`:

    class Whisper(efface.Attack):
        name = "whisper"

        def run(self, subject, facts, unit, context):
            prompts = [Prompt(f"Just between us: {fact.question}") for fact in facts]
            return self.rows_of_prompts(subject, facts, unit, context, prompts)
    """

    name: ClassVar[str]
    """Lower-case letters, digits, `-` and `_`; not that of a built-in attack."""
    tier: ClassVar[Tier] = "asks"
    needs_before: ClassVar[bool] = False
    """Whether it is also run on the model before unlearning, first; without that model the attack is left out."""
    wants_before: ClassVar[bool] = False
    """Whether it is also run on the model before unlearning where that is available, for comparison; above quick."""
    needs_control: ClassVar[bool] = False
    """Whether it says nothing without a control; then it is left out where there is none."""
    in_union: ClassVar[bool] = True
    """Whether its hits count in the headline; `counts` decides about a single row."""

    def units(self, level: Level) -> list[Unit]:  # noqa: ARG002
        """The parts that the attack is run in.

        Args:
            level: Of the audit.

        Returns:
            Variants and seeds, the most important first: time limits cut from the end.
        """
        return [Unit("plain")]

    def leaves_out(self, level: Level) -> str | None:  # noqa: ARG002
        """What the attack does at `full` and not at this level, as a phrase for the results.

        Args:
            level: Of the audit.

        Returns:
            The phrase; None where nothing is left out.
        """
        return None

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:  # noqa: ARG002
        """How many tokens one unit takes on one model, so that its time can be predicted.

        Args:
            facts: What `run` will get.
            unit: One of `units`.
            context: Everything else.

        Returns:
            The tokens; by default, one output for each fact.
        """
        return Cost(decoded=len(facts) * context.max_new_tokens)

    @abstractmethod
    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """Attack one model.

        Args:
            subject: The model. Weights that are changed are changed inside `with subject.changed():`.
            facts: What to bring back.
            unit: One of `units`.
            context: Everything else.

        Returns:
            One row for each fact that the attack applies to. Hits must not depend on the order of the facts, the batch
            size or the number of threads.
        """

    def counts(self, row: Row) -> bool:  # noqa: ARG002
        """Whether a row's hit counts in the headline.

        Args:
            row: Of this attack.
        """
        return self.in_union

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:  # noqa: ARG002
        """Numbers of the attack that are no rate of facts, by name, such as an AUC.

        Args:
            rows: All rows of this attack, by model.
        """
        return {}

    def rows_of_prompts(
        self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context, prompts: Sequence[Prompt]
    ) -> list[Row]:
        """Ask one prompt for each fact and judge the outputs: all of `run` for most attacks that ask.

        Args:
            subject: The model.
            facts: What to bring back.
            unit: The unit that is run.
            context: Everything else.
            prompts: One for each fact.

        Returns:
            One row for each fact.
        """
        outputs = subject.answer(prompts, max_new_tokens=context.max_new_tokens)
        shown = [text_of(prompt) for prompt in prompts]
        return self.rows_of_outputs(facts, unit, context, outputs=outputs, shown=shown)

    def rows_of_outputs(
        self,
        facts: Sequence[Fact],
        unit: Unit,
        context: Context,
        *,
        outputs: Sequence[str],
        shown: Sequence[str],
        targets: Sequence[str] | None = None,
        numbers: Sequence[Mapping[str, float]] | None = None,
    ) -> list[Row]:
        """Judge one output of each fact.

        Args:
            facts: What to bring back.
            unit: The unit that is run.
            context: Its rule judges.
            outputs: One for each fact, without words that the attack forced.
            shown: For each fact, all text that the attack gave besides the output.
            targets: What an output is compared with where that is not the whole answer.
            numbers: Numbers of each fact, by name; None for none.

        Returns:
            One row for each fact.
        """
        verdicts = context.rule.judge(facts, outputs, shown, targets)
        return [
            Row(
                attack=self.name,
                variant=unit.variant,
                seed=unit.seed,
                fact=fact.id,
                hit=verdict.hit,
                echo=verdict.echo,
                shown=verdict.shown,
                output=output,
                numbers={} if numbers is None else dict(numbers[index]),
            )
            for index, (fact, output, verdict) in enumerate(zip(facts, outputs, verdicts, strict=True))
        ]

    def rows_of_numbers(self, ids: Sequence[str], unit: Unit, numbers: Sequence[Mapping[str, float]]) -> list[Row]:
        """Rows of an attack that makes numbers in place of outputs.

        Args:
            ids: Of the facts.
            unit: The unit that is run.
            numbers: Numbers of each fact, by name.

        Returns:
            One row for each fact, none of which is a hit.
        """
        return [
            Row(attack=self.name, variant=unit.variant, seed=unit.seed, fact=id_, hit=None, numbers=dict(each))
            for id_, each in zip(ids, numbers, strict=True)
        ]

    def dropped(self, fact: Fact, unit: Unit) -> Row:
        """The row of a fact that this attack cannot be tried on without saying it.

        Args:
            fact: The fact.
            unit: The unit that is run.
        """
        return Row(
            attack=self.name, variant=unit.variant, seed=unit.seed, fact=fact.id, hit=None, echo=True, shown=(fact.id,)
        )
