"""In which layers a fact can be read: the attack `lens` by layer, as a table and as a chart. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping

from efface.artifacts import Results
from efface.artifacts.audit import AuditResults
from efface.report.number_format import format_number
from efface.report.page.load_run import ReportRun
from efface.report.page.tables import Table

LENS_LAYER = re.compile(r"(?P<number>logprob|drop|chance)_layer_(?P<layer>\d+)_(?P<model>before|control|after)")
"""The scalars of `lens` that are shown here: log-probability by the lens, drop when patched, chance."""
_LABELS = {"logprob": "{model}", "chance": "{model}, another fact", "drop": "{model}, drop when patched"}


def lens_table(audit: AuditResults) -> Table | None:
    """Make the table: a row for each layer, a column for each model.

    Args:
        audit: Its results.

    Returns:
        None where the lens did not run.
    """
    lines = _lines(audit)
    if not lines:
        return None
    layers = sorted({layer for values in lines.values() for layer in values})
    rows = [[str(layer), *(format_number(values.get(layer)) for values in lines.values())] for layer in layers]
    return Table("Lens: mean log-probability of a token of the facts, by layer", ["Layer", *lines], rows)


def lens_curves(run: ReportRun) -> dict[str, object] | None:
    """Make the data of the chart for the script.

    Args:
        run: A run.

    Returns:
        `step`, the layers, and `lines`: label -> log-probability at each; None where there is nothing to draw.
    """
    audit = run.results.audit if isinstance(run.results, Results) else None
    lines = {} if audit is None else _lines(audit, "logprob")
    layers = sorted({layer for values in lines.values() for layer in values})
    if len(layers) < 2:
        return None
    return {
        "step": layers,
        "lines": {label: [values.get(layer) for layer in layers] for label, values in lines.items()},
    }


def _lines(audit: AuditResults, *numbers: str) -> Mapping[str, Mapping[int, float]]:
    """Label -> layer -> number, of some numbers; of all where none is named."""
    lines: dict[str, dict[int, float]] = {}
    for name, value in audit.scalars.get("lens", {}).items():
        found = LENS_LAYER.fullmatch(name)
        if found and value is not None and (not numbers or found["number"] in numbers):
            label = _LABELS[found["number"]].format(model=found["model"])
            lines.setdefault(label, {})[int(found["layer"])] = value
    return lines
