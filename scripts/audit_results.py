"""Collect the audits of docs/audit.md, and make its tables and its picture.

python scripts/audit_results.py gather docs/reproduction/audit-demo.json demo/me+gd demo/idk+ap demo/ga+gd demo/idk+gd
python scripts/audit_results.py gather docs/reproduction/audit-tofu.json OUT/me+gd OUT/idk+ap OUT/npo+gd
python scripts/audit_results.py table docs/reproduction/audit-demo.json
python scripts/audit_results.py picture docs/reproduction/audit-demo.json docs/images/audit-methods.svg
python scripts/audit_results.py self-test docs/reproduction/audit-self-test.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROUNDED = 4
"""Decimals of stored numbers."""
_KEPT = ("before", "after", "audit")
"""Of a run's results."""
_MAIN = (
    "recoverable",
    *(f"{name} rate" for name in ("plain", "ask-otherwise", "first-words", "sample", "relearn", "quantize", "perturb")),
    *(f"read-out {name}_after" for name in ("answer_logprob", "exact_memorization", "extraction_strength")),
    *("membership auc_min_k_after", "membership gap_min_k", "lens lens_score", "lens depth_score"),
    *("static relative_l2_after", "static nf4_codes_changed_after", "both-models rate"),
)
"""Rows of the table of the self-test; the file has all numbers."""


def gather(out: Path, *runs: Path) -> None:
    """Write scores and audits of runs to a file, without paths."""
    found = {}
    for run in runs:
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        if results["audit"]["control"] is not None:
            results["audit"]["control"]["model"] = Path(results["audit"]["control"]["model"]).name
        made = {key: manifest[key] for key in ("device", "versions")}
        found[run.name] = {"method": results["method"], "made": made, **{key: results[key] for key in _KEPT}}
    text = json.dumps({"schema": 1, "runs": _rounded(found)}, indent=1, allow_nan=False)
    out.write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _ROUNDED)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def table(source: Path) -> None:
    """Print what each attack brought back, and what all of them did, as a Markdown table."""
    runs = _runs(source)
    attacks = [name for name, each in next(iter(runs.values()))["audit"]["attacks"].items() if each["rate"] is not None]
    print(f"| | {' | '.join(f'`{name}`' for name in attacks)} | recoverable, 95 % interval | control |")
    print("|" + "---|" * (len(attacks) + 3))
    for run in runs.values():
        audit = run["audit"]
        cells = [_count(audit["attacks"][name], audit["recoverable"]["n"]) for name in attacks]
        found, low, high = audit["recoverable"], *(round(100 * each) for each in audit["recoverable"]["interval"])
        control = "-" if audit["control"] is None else audit["control"]["k"]
        head = f"| {run['method'].upper()} | {' | '.join(cells)} "
        print(f"{head}| {found['k']} of {found['n']}, {low} to {high} % | {control} |")


def _count(attack: dict[str, Any], facts: int) -> str:
    k = round(attack["rate"] * attack["n"])
    return str(k) if attack["n"] == facts else f"{k} of {attack['n']}"


def picture(source: Path, out: Path) -> None:
    """Draw how many facts come back when asked as in the run, by attacks that ask, and by all, and from the control."""
    from matplotlib import pyplot

    from figure_colors import BACKGROUND, MUTED, SERIES, TEXT
    from figures import WIDTH, legend_above, save

    runs = _runs(source)
    figure, axes = pyplot.subplots(figsize=(WIDTH, 1.2 + 0.75 * len(runs)))
    parts = (("asked as in the run", MUTED), ("attacks that ask", SERIES[1]), ("all attacks, 95 % interval", SERIES[0]))
    for place, run in enumerate(reversed(runs.values())):
        found = run["audit"]["recoverable"]
        rates = [found[key] / found["n"] for key in ("asked_plainly", "by_asking", "k")]
        for shift, rate, (label, color) in zip((0.26, 0, -0.26), rates, parts, strict=True):
            axes.barh(place + shift, rate, height=0.24, color=color.light, label=None if place else label)
        low, high = found["interval"]
        errors = [[rates[2] - low], [high - rates[2]]]
        axes.errorbar(rates[2], place - 0.26, xerr=errors, color=TEXT.light, capsize=3)
        if (control := run["audit"]["control"]) is not None and control["k"]:
            label = None if place else "all attacks on the control"
            marker = {"color": SERIES[3].light, "markeredgecolor": BACKGROUND.light, "clip_on": False}
            axes.plot(control["k"] / found["n"], place - 0.26, "D", label=label, **marker)
    axes.set_yticks(range(len(runs)), [run["method"].upper() for run in reversed(runs.values())])
    axes.set(xlim=(0, 1.02), xlabel="share of the facts known before that come back")
    legend_above(figure, *axes.get_legend_handles_labels())
    save(figure, out)


def self_test(source: Path) -> None:
    """Print faithfulness, stability and robustness of the main numbers as a Markdown table."""
    kinds = ("knows", "hidden", "never", "twin")
    print("| | faithfulness | stability | robustness | knows | hides | never knew | other facts |")
    print("|---|---|---|---|---|---|---|---|")
    stored = json.loads(source.read_text(encoding="utf-8"))
    for name in _MAIN:
        if name in stored["numbers"]:
            row = stored["numbers"][name]
            values = [
                *(row[key] for key in ("faithfulness", "stability", "robustness")),
                *(row[kind] for kind in kinds),
            ]
            cells = ["-" if value is None else f"{value:.2f}" for value in values]
            attack, _, number = name.partition(" ")
            label = (
                name if attack == "recoverable" else f"`{attack}`, {number.removesuffix('_after').replace('_', ' ')}"
            )
            print(f"| {label} | {' | '.join(cells)} |")
    print(f"\n{len(stored['seeds'])} seeds; gates:")
    for gate, holds in stored["gates"].items():
        print(f"- {gate}: {'holds' if holds else 'FAILS'}")


def _runs(source: Path) -> dict[str, dict[str, Any]]:
    runs: dict[str, dict[str, Any]] = json.loads(source.read_text(encoding="utf-8"))["runs"]
    return runs


_COMMANDS: dict[str, Callable[..., None]] = {
    "gather": gather,
    "table": table,
    "picture": picture,
    "self-test": self_test,
}

if __name__ == "__main__":
    _COMMANDS[sys.argv[1]](*map(Path, sys.argv[2:]))
