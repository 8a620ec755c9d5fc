"""Collect the runs of docs/reproduction.md and plot them.

python scripts/reproduction.py gather runs/forget01 docs/reproduction/forget01.json
python scripts/reproduction.py table docs/reproduction/forget01.json
python scripts/reproduction.py trajectories docs/reproduction/forget01.json docs/images/trajectories.svg
python scripts/reproduction.py continual docs/reproduction/continual.json docs/images/continual.svg
python scripts/reproduction.py methods docs/reproduction/methods.json
python scripts/reproduction.py search docs/reproduction/smollm2.json
python scripts/reproduction.py answers docs/reproduction/smollm2.json
python scripts/reproduction.py searched docs/reproduction/methods.json docs/images/searched.svg
python scripts/reproduction.py requests docs/reproduction/methods.json

methods.json and smollm2.json are made by scripts/reproduction_tuned.py.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib import pyplot

from figure_colors import MUTED, SERIES, TEXT
from figures import MARKERS, WIDTH, legend_above, legend_beside, save

_SETTINGS = ("lr", "epochs", "batch_size", "precision")
_EVALUATION = ("limit", "max_new_tokens", "embedder", "judge")
_CANDIDATE = {"epochs": "epochs", "lr": "rate", "forget_coeff": "coefficient"}
"""Settings of a candidate of a search -> what they are called in a table."""
_ANSWERS, _SETS = ("right", "declined", "made_up", "silent"), ("forget", "retain")
_ONE_OF_EACH = 2
"""Sets: the forget set and the retain set."""
_UNTARGETED, _TARGETED = ("ga", "npo", "me"), ("dpo", "idk")
_ORDER = ("ga+gd", "ga+kl", "npo+gd", "npo+kl", "me+gd", "dpo+gd", "dpo+kl", "idk+gd", "idk+kl", "idk+ap")


def gather(root: Path, out: Path) -> None:
    """Write every finished run, queue and evaluation in `root` to `out`, without names of folders."""
    models = [each for _, each in finished(root)]
    models.sort(key=lambda each: (each["kind"], each.get("method", ""), json.dumps(each["settings"], sort_keys=True)))
    out.write_text(json.dumps({"schema": 1, "models": models}, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def table(source: Path) -> None:
    """Print the runs as a Markdown table: means over seeds ± standard deviation; what matters comes first."""
    print("| | model utility | forget efficacy | ROUGE / probability / truth ratio | seeds | lr | forget coefficient |")
    print("|---|---|---|---|---|---|---|")
    models = _models(source)
    groups = _by_method(models)
    print(_row("before", [next(iter(groups.values()))[0]["before"]], ("", "", "")))
    for each in (each for each in models if each["kind"] == "evaluation"):
        print(_row(each["name"], [each["after"]], ("", "", "")))
    for method, runs in groups.items():
        settings = runs[0]["settings"]
        made = (str(len(runs)), f"{settings['lr']:g}", f"{settings['forget_coeff']:g}")
        print(_row(method.upper(), [each["after"] for each in runs], made))


def trajectories(source: Path, out: Path) -> None:
    """Model utility against forget efficacy, epoch by epoch if epochs were scored; untargeted, then targeted."""
    figure, both = pyplot.subplots(2, 1, figsize=(WIDTH, 6.4), sharex=True, sharey=True)
    models = _models(source)
    for axes, objectives, title in zip(both, (_UNTARGETED, _TARGETED), ("untargeted", "targeted"), strict=True):
        groups = {name: runs for name, runs in _by_method(models).items() if name.partition("+")[0] in objectives}
        for look, (method, runs) in zip(_looks(), groups.items(), strict=False):
            for number, each in enumerate(sorted(runs, key=lambda run: "trajectory" not in run)):
                _draw_run(axes, each, look, method.upper() if number == 0 else None)
        runs = next(iter(groups.values()))
        axes.plot(*point(runs[0]["before"]), "*", color=TEXT.light, markersize=11, label="before")
        _draw_evaluations(axes, models)
        axes.set(title=title, ylabel="model utility", xlim=(0, 1.02), ylim=(-0.02, 0.65))
        legend_beside(axes)
    both[1].set_xlabel("forget efficacy")
    save(figure, out)


def continual(source: Path, out: Path) -> None:
    """Plot model utility and the forget efficacy of the newest and of the first request, over the requests."""
    figure, panels = pyplot.subplots(3, 1, figsize=(WIDTH, 7), sharex=True, sharey=True)
    titles = ("model utility", "forget efficacy: the newest request", "forget efficacy: the first request")
    queues = [each for each in _models(source) if each["kind"] == "queue"]
    for look, each in zip(_looks(), queues, strict=False):
        times = range(len(each["after"]) + 1)
        efficacy = each["forget_efficacy"]
        newest = [None, *(efficacy[time - 1][time] for time in times[1:])]
        lines = ([point(each["before"])[1], *(point(scores)[1] for scores in each["after"])], newest, efficacy[0])
        for axes, line in zip(panels, lines, strict=True):
            axes.plot(times, line, "-", markersize=5, label=each["name"], **look)
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlim=(-0.1, times[-1] + 0.1), xticks=times, ylim=(-0.02, 1))
    panels[-1].set_xlabel("requests unlearned")
    legend_above(figure, *panels[0].get_legend_handles_labels())
    save(figure, out)


def methods(source: Path) -> None:
    """Print the tuned methods as a Markdown table: means over seeds ± standard deviation."""
    metrics = "ROUGE / probability / truth ratio"
    print(f"| | model utility | of before | forget efficacy | {metrics} | declined | forget quality |")
    print("|---" * 7 + "|")
    models = _models(source)
    groups = _by_method(models)
    print(_tuned_row("before", [next(iter(groups.values()))[0]], "before"))
    for each in (each for each in models if each["kind"] == "evaluation"):
        print(_tuned_row(each["name"], [each], "after"))
    for method, runs in groups.items():
        print(_tuned_row(method.upper(), runs, "after"))
    print()
    search(source)


def search(source: Path) -> None:
    """Print the candidates of a search: the share of utility kept, that of the retain set among several, efficacy."""
    runs = [each for each in _models(source) if each["kind"] == "search"]
    varied = [key for key in _CANDIDATE if len({each["settings"][key] for each in runs}) > 1]
    candidates = sorted({_candidate(each) for each in runs})
    names = [
        ", ".join(
            f"{_CANDIDATE[key]} {value:g}" for key, value in zip(_CANDIDATE, values, strict=True) if key in varied
        )
        for values in candidates
    ]
    print("| searched | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for method, of_method in _by_method(runs, "search").items():
        cells = {_candidate(each): _cell(each) for each in of_method}
        print(f"| {method.upper()} | {' | '.join(cells.get(each, '') for each in candidates)} |")


def answers(source: Path) -> None:
    """Print how many answers of each set are right, declined, made up and empty, for all runs of a search."""
    print("| | epochs, rate, coefficient | forget set | retain set |")
    print("|---" * 4 + "|")
    for method, runs in _by_method(_models(source), "search").items():
        for each in sorted(runs, key=_candidate):
            counts = [" / ".join(str(each["answers"][name].get(kind, 0)) for kind in _ANSWERS) for name in _SETS]
            made = ", ".join(f"{value:g}" for value in _candidate(each))
            print(f"| {method.upper()} | {made} | {' | '.join(counts)} |")


def searched(source: Path, out: Path) -> None:
    """Plot the share of the utility that is kept against forget efficacy, for all coefficients of each method."""
    figure, both = pyplot.subplots(2, 1, figsize=(WIDTH, 6.4), sharex=True, sharey=True)
    models = _models(source)
    reported = _by_method(models)
    for axes, objectives, title in zip(both, (_UNTARGETED, _TARGETED), ("untargeted", "targeted"), strict=True):
        groups = {name: runs for name, runs in _by_method(models, "search").items() if name.startswith(objectives)}
        for look, (method, runs) in zip(_looks(), groups.items(), strict=False):
            points = [(point(each["after"])[0], share(each)) for each in runs]
            axes.plot(*zip(*points, strict=True), "-", markersize=4, label=method.upper(), **look)
            ends = [(point(each["after"])[0], share(each)) for each in reported.get(method, ())]
            if ends:
                axes.plot(*zip(*ends, strict=True), linestyle="", markersize=8, fillstyle="none", **look)
        axes.axhline(0.95, color=MUTED.light, linewidth=1, label="bound")
        _draw_evaluations(axes, models)
        axes.set(title=title, ylabel="share of utility kept")
        legend_beside(axes)
    both[1].set_xlabel("forget efficacy")
    save(figure, out)


def requests(source: Path) -> None:
    """Print queues of requests as a Markdown table."""
    print("| | model utility: before, after 1, half, all | FE: each when new | the first at the end | all at the end |")
    print("|---" * 5 + "|")
    for each in (each for each in _models(source) if each["kind"] == "queue"):
        efficacy, times = each["forget_efficacy"], len(each["after"])
        utilities = [point(each["after"][time - 1])[1] for time in (1, times // 2, times)]
        newest = _mean([row[time] for time, row in enumerate(efficacy, 1)])
        ends = (newest, f"{efficacy[0][-1]:.3f}", _mean([row[-1] for row in efficacy]))
        utility = ", ".join(f"{value:.3f}" for value in (point(each["before"])[1], *utilities))
        print(f"| {' | '.join((each['name'], utility, *ends))} |")


def _looks() -> Iterator[dict[str, Any]]:
    """Color and mark of one series after the other."""
    return ({"color": color.light, "marker": mark} for color, mark in zip(SERIES, MARKERS, strict=True))


def finished(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder and the results of every finished run, queue and evaluation, without names of folders."""
    for path in sorted(root.rglob("config.yaml")):
        folder, config = path.parent, yaml.safe_load(path.read_text(encoding="utf-8"))
        if folder.parent.name == "requests":
            continue
        if (folder / "results.json").is_file():
            yield folder, _run(folder, config)
        elif (folder / "scores.json").is_file():
            name = "random weights" if config["weights"] == "random" else "retrained"
            common = _common(folder, config)
            yield folder, {"kind": "evaluation", "name": name, **common, "after": _json(folder / "scores.json")}


def _run(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    results, common = _json(folder / "results.json"), _common(folder, config)
    queue = config["continual"]
    name = config["method"].upper()
    if queue is not None and config["method"].startswith(("npo", "dpo")):
        name += f", reference {queue['reference']}"
    return {"kind": "run" if queue is None else "queue", "name": name, **common, **results}


def _common(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    manifest, train = _json(folder / "manifest.json"), config.get("train", {})
    settings = {key: config[key] for key in ("forget_coeff", "seed", "definition") if key in config}
    settings |= {key: train[key] for key in _SETTINGS if key in train}
    made = {key: manifest[key] for key in ("efface", "commit", "device", "precision", "versions", "seconds")}
    data = {key: config["data"][key] for key in ("source", "split", "task")}
    evaluate = {key: config["evaluate"][key] for key in _EVALUATION}
    return {"data": data, "settings": settings, "evaluate": evaluate, "made": made}


def _models(source: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = _json(source)["models"]
    return models


def _by_method(models: list[dict[str, Any]], kind: str = "run") -> dict[str, list[dict[str, Any]]]:
    """Method -> its runs, one per seed or of a search one per coefficient; in the order of the paper's tables."""
    groups: dict[str, list[dict[str, Any]]] = {method: [] for method in _ORDER}
    for each in models:
        if each["kind"] == kind:
            groups[each["method"]].append(each)
    return {method: runs for method, runs in groups.items() if runs}


def _draw_run(axes: Any, run: dict[str, Any], look: dict[str, Any], label: str | None) -> None:
    """Draw a line with a mark for each scored epoch, and the end: filled, or empty if only the end was scored."""
    epochs = [epoch["scores"] for epoch in run["trajectory"]["epochs"]] if "trajectory" in run else []
    if epochs:
        points = [point(scores) for scores in (run["before"], *epochs)]
        axes.plot(*zip(*points, strict=True), "-", markersize=4, **look)
    fill = "full" if epochs else "none"
    axes.plot(*point(run["after"]), linestyle="", markersize=8, label=label, fillstyle=fill, **look)


def _candidate(model: dict[str, Any]) -> tuple[float, ...]:
    return tuple(model["settings"][key] for key in _CANDIDATE)


def _cell(run: dict[str, Any]) -> str:
    of_retain = [share(run, "model_utility_retain")] if len(run["after"]["sets"]) > _ONE_OF_EACH else []
    return " / ".join(f"{each:.3f}" for each in (share(run), *of_retain, point(run["after"])[0]))


def share(model: dict[str, Any], utility: str = "model_utility") -> float:
    """Model utility after unlearning over that before; or with `model_utility_retain`, that of the retain set."""
    return _aggregates(model["after"])[utility] / _aggregates(model["before"])[utility]


def _tuned_row(name: str, models: Sequence[dict[str, Any]], stage: str) -> str:
    scores = [each[stage] for each in models]
    points = [point(each) for each in scores]
    shares = [share(each) for each in models if stage == "after" and "before" in each]
    sets = [each["sets"]["forget"] for each in scores]
    means = [statistics.fmean(each[metric] for each in sets) for metric in ("rouge", "probability", "truth_ratio")]
    counts = [each["answers"]["forget"] for each in models if stage == "after" and "answers" in each]
    declined = [each.get("declined", 0) / sum(each.values()) for each in counts]
    quality = [each["forget_quality"]["p_value"] for each in models if stage == "after" and "forget_quality" in each]
    cells = (
        _mean([utility for _, utility in points]),
        _mean(shares) if shares else "",
        _mean([efficacy for efficacy, _ in points]),
        " / ".join(f"{value:.2f}" for value in means),
        f"{statistics.fmean(declined):.0%}".replace("%", " %") if declined else "",
        f"{statistics.median(quality):.2g}" if quality else "",
    )
    return f"| {' | '.join((name, *cells))} |"


def _draw_evaluations(axes: Any, models: list[dict[str, Any]]) -> None:
    """Draw the forget efficacy of models that were not unlearned as lines."""
    for each in (each for each in models if each["kind"] == "evaluation"):
        look = {"color": MUTED.light, "linestyle": "--" if each["name"] == "retrained" else ":"}
        axes.axvline(point(each["after"])[0], linewidth=1, label=each["name"].replace(" ", "\n"), **look)


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _aggregates(scores: dict[str, Any]) -> dict[str, float]:
    """The full aggregates, or if a metric is missing the partial ones."""
    complete = scores["model_utility"] is not None and scores["forget_efficacy"] is not None
    aggregates: dict[str, float] = scores if complete else scores["partial"]
    return aggregates


def point(scores: dict[str, Any]) -> tuple[float, float]:
    """Forget efficacy and model utility."""
    aggregates = _aggregates(scores)
    return aggregates["forget_efficacy"], aggregates["model_utility"]


def _row(name: str, scores: Sequence[dict[str, Any]], settings: Sequence[str]) -> str:
    points = [point(each) for each in scores]
    efficacy, utility = (_mean([each[axis] for each in points]) for axis in (0, 1))
    sets = [each["sets"]["forget"] for each in scores]
    means = [statistics.fmean(each[metric] for each in sets) for metric in ("rouge", "probability", "truth_ratio")]
    return f"| {' | '.join((name, utility, efficacy, ' / '.join(f'{value:.2f}' for value in means), *settings))} |"


def _mean(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


_COMMANDS: dict[str, Callable[..., None]] = {
    "gather": gather,
    "table": table,
    "trajectories": trajectories,
    "continual": continual,
    "methods": methods,
    "search": search,
    "answers": answers,
    "searched": searched,
    "requests": requests,
}

if __name__ == "__main__":
    _COMMANDS[sys.argv[1]](*map(Path, sys.argv[2:]))
