"""Run the units of all attacks on one model after another, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from efface.auditing.attack import Attack, Context, Level, ModelName, Unit
from efface.auditing.fact import Row
from efface.auditing.models import AuditModels
from efface.auditing.registry import PLAIN
from efface.auditing.rows import RowsFile
from efface.auditing.subject import Subject
from efface.auditing.time_plan import Part, choose, measure_speed
from efface.errors import EffaceError, summarize_error
from efface.progress.reporter import Reporter


@dataclass(frozen=True)
class Clock:
    """The time of an audit."""

    start: float
    """As `time.monotonic` has it."""
    minutes: float | None

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without a limit."""
        return None if self.minutes is None else self.start + 60 * self.minutes - time.monotonic()


@dataclass
class AuditPlan:
    """The units of an audit, and what was left out of them so far."""

    parts: list[Part]
    level: Level
    controlled: bool
    """Whether there is a control; then only units count that were run on it, too."""
    left_out: dict[str, str] = field(default_factory=dict)
    is_limited: bool = False

    @classmethod
    def of(cls, attacks: Sequence[Attack], context: Context, models: AuditModels, rows: RowsFile) -> AuditPlan:
        """All units of the attacks that the available models allow; those in `rows` take no time anymore."""
        plan = cls([], context.level, controlled="control" in models.sources)
        for attack in attacks:
            needed = {"before": attack.needs_before, "control": attack.needs_control}
            if missing := [name for name, is_needed in needed.items() if is_needed and name not in models.sources]:
                plan.left_out[attack.name] = f"it needs the model {missing[0]}, which is not available"
                continue
            units = attack.units(context.level)
            if not units:
                plan.left_out[attack.name] = f"not at audit.level={context.level}"
            elif less := attack.leaves_out(context.level):
                plan.left_out[f"{attack.name}, in part"] = f"{less}: audit.level={context.level}"
            names = [name for name in models.sources if runs_on(attack, name, context.level)]
            plan.parts += [
                Part(
                    attack,
                    unit,
                    attack.plan(context.facts, unit, context),
                    models=sum(rows.done(attack.name, unit, name) is None for name in names),
                )
                for unit in units
            ]
        return plan

    def open_parts(self, name: ModelName, rows: RowsFile) -> list[Part]:
        """The units that are to be run on a model and were not yet."""
        return [
            part
            for part in self.parts
            if runs_on(part.attack, name, self.level) and rows.done(part.attack.name, part.unit, name) is None
        ]

    def limit(self, subject: Subject, context: Context, seconds: float) -> None:
        """Leave out what does not fit into the time, once."""
        if self.is_limited:
            return
        self.is_limited = True
        _, cut = choose(self.parts, measure_speed(subject, context), seconds)
        self.leave_out(cut, "audit.minutes: not enough time")

    def leave_out(self, parts: Sequence[Part], reason: str) -> None:
        """Remove units that are not run, and note them beside those that were removed before."""
        names: dict[str, list[str]] = {}
        for part in parts:
            names.setdefault(part.attack.name, []).append(_label(part.unit))
        for name, units in names.items():
            earlier = [self.left_out[name]] if name in self.left_out else []
            self.left_out[name] = "; ".join([*earlier, f"{reason} ({', '.join(units)})"])
        self.parts = [part for part in self.parts if part not in parts]

    def drop(self, attack: Attack, reason: str) -> None:
        """Leave out an attack as a whole."""
        self.parts = [part for part in self.parts if part.attack.name != attack.name]
        self.left_out[attack.name] = reason

    def completed(self, rows: RowsFile) -> tuple[Attack, ...]:
        """The attacks of which at least one unit was run on every model that counts."""
        return tuple(dict.fromkeys(part.attack for part in self._common(rows)))

    def rows(self, rows: RowsFile) -> dict[ModelName, dict[str, list[Row]]]:
        """Model -> attack -> rows, of those units that were run on every model that counts."""
        names: tuple[ModelName, ...] = ("before", "control", "after") if self.controlled else ("before", "after")
        found: dict[ModelName, dict[str, list[Row]]] = {name: {} for name in names}
        for part in self._common(rows):
            for name in names:
                of_unit = rows.done(part.attack.name, part.unit, name) or []
                found[name].setdefault(part.attack.name, []).extend(of_unit)
        return found

    def without_rows(self, rows: RowsFile) -> dict[str, str]:
        """Units that made nothing, such as a template for a subject that the data does not name -> why."""
        units: dict[str, list[str]] = {}
        for part in self._common(rows):
            if not rows.done(part.attack.name, part.unit, "after"):
                units.setdefault(part.attack.name, []).append(_label(part.unit))
        reason = "the run's data has nothing that it applies to"
        return {f"{name} ({', '.join(labels)})": reason for name, labels in units.items()}

    def seconds(self, rows: RowsFile) -> dict[str, float]:
        """Attack -> seconds, on all models."""
        models: tuple[ModelName, ...] = ("before", "control", "after")
        seconds: dict[str, float] = {}
        for part in self.parts:
            took = sum(rows.seconds(part.attack.name, part.unit, name) for name in models)
            seconds[part.attack.name] = seconds.get(part.attack.name, 0.0) + took
        return seconds

    def _common(self, rows: RowsFile) -> list[Part]:
        def done(part: Part, name: ModelName) -> bool:
            return (
                not runs_on(part.attack, name, self.level) or rows.done(part.attack.name, part.unit, name) is not None
            )

        counted: list[ModelName] = ["after", "control"] if self.controlled else ["after"]
        return [part for part in self.parts if all(done(part, name) for name in counted)]


def runs_on(attack: Attack, name: ModelName, level: Level) -> bool:
    """Whether an attack is run on a model: on that before only for comparison.

    Args:
        attack: Any attack of the audit.
        name: Of the model.
        level: Of the audit.
    """
    return name != "before" or attack.needs_before or (attack.wants_before and level != "quick")


def attack_model(
    name: ModelName,
    plan: AuditPlan,
    context: Context,
    models: AuditModels,
    rows: RowsFile,
    *,
    clock: Clock,
    reporter: Reporter,
) -> None:
    """Run the units that were not run yet; the model is loaded for the first of them.

    Args:
        name: Of the model.
        plan: What to run; gets what was left out.
        context: Of the audit.
        models: Where the model is.
        rows: Gets the rows of each unit.
        clock: The time limit.
        reporter: Gets the stage and progress.

    Raises:
        EffaceError: The model does not load, or an attack of the user fails.
    """
    open_parts = plan.open_parts(name, rows)
    if not open_parts:
        return
    reporter.on_stage(f"attacking the model {name}: {models.sources[name].folder}")
    with models.sources[name].opened() as subject:
        if clock.left is not None:
            plan.limit(subject, context, clock.left)
        for number, part in enumerate(open_parts):
            reporter.on_progress(f"{name}, {part.attack.name} {_label(part.unit)}", number, len(open_parts))
            if part not in plan.parts:
                continue
            if part.attack.name != PLAIN and clock.left is not None and clock.left <= 0:
                left = [each for each in open_parts[number:] if each in plan.parts]
                plan.leave_out(left, "audit.minutes: the time was over")
                return
            _run_part(part, subject, plan, context, rows)


def _run_part(part: Part, subject: Subject, plan: AuditPlan, context: Context, rows: RowsFile) -> None:
    attack, unit, start = part.attack, part.unit, time.perf_counter()
    earlier: Mapping[ModelName, list[Row]] = {
        name: [
            row for each in plan.parts if each.attack is attack for row in rows.done(attack.name, each.unit, name) or ()
        ]
        for name in context.models
    }
    try:
        made = attack.run(subject, context.facts, unit, replace(context, rows=earlier))
    except EffaceError as error:
        if attack.name == PLAIN:
            raise  # nothing else could be asked either
        plan.drop(attack, f"{error} (on the model {subject.name})")
        return
    except Exception as error:
        if type(attack).__module__.startswith("efface."):
            raise
        raise EffaceError(f"attack {attack.name!r}: it failed ({summarize_error(error)}); correct its run") from error
    rows.add(attack.name, unit, subject.name, made, seconds=time.perf_counter() - start)


def _label(unit: Unit) -> str:
    return unit.variant if unit.seed == 0 else f"{unit.variant}, seed {unit.seed}"
