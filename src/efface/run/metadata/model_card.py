"""The model card: what was forgotten, how, and what it scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import Environment, StrictUndefined

from efface.artifacts import METRICS, Manifest, Partial, Results, Scores, Verdict
from efface.config.commands import RunConfig
from efface.config.parse import to_yaml
from efface.data.given_files import find_given, given_files
from efface.files.atomic import write_text
from efface.report.paths import shorten_paths
from efface.report.verdict_text import EFFICACY, RULE, answer_shares, verdict_sentences, words_note
from efface.run.folder import RunFolder
from efface.run.metadata.model_origin import model_origin

_GIVEN = "a file of the user"
_TEXTS = {"text", "columns", "stop", "target", "parameters"}
"""Settings, and groups of them, that are free text and never a path: a slash in them is content."""

_TEMPLATE = """\
---
library_name: {{ library }}
pipeline_tag: text-generation
tags:
- machine-unlearning
- efface
{% if base_model -%}
base_model: {{ base_model }}
{% endif -%}
{% if license -%}
license: {{ license }}
{% endif -%}
---

# Unlearned with {{ config.method }}

{{ model }} (sha256 `{{ manifest.model_sha256 }}`) after unlearning with
efface {{ manifest.efface }}.
{% if library == "peft" -%}
This is the LoRA adapter alone: load it onto {{ adapter_base }} with PEFT.
{%- else -%}
Load it as any causal language model of transformers.
{%- endif %}

{% if results -%}
{% if verdicts -%}
{{ verdicts | join(" ") }}

{{ rule }}

{% for heading, types in answers -%}
{% if loop.first %}| answers | correct | declined | made up | empty |
|---|---|---|---|---|
{% endif %}| {{ heading }} | {{ types | join(" | ") }} |
{% endfor %}
{% endif -%}
## Scores

Definition `{{ results.definition }}`; embeddings: {{ results.after.embedder | name }}; \
judge: {{ results.after.judge | name }}{{ detector }}.

| | before | after |
|---|---|---|
{% for name, before, after in aggregates -%}
| {{ name }} | {{ before | score }} | {{ after | score }} |
{% endfor %}
{{ efficacy }}.
{% if partial %}
Partial: over {{ partial | join(", ") }} alone, the metrics that all sets have.
{% endif %}
{%- if results.downstream %}
Downstream tasks, by lm-evaluation-harness {{ results.downstream.after.lm_eval }}:

| task | metric | before | after |
|---|---|---|---|
{% for name, score in results.downstream.after.tasks.items() -%}
| {{ name }} ({{ score.n }}) | {{ score.metric }} | {{ results.downstream.before.tasks[name].value | score }} | \
{{ score.value | score }} |
{% endfor %}
{%- endif %}
| set | {{ metrics | join(" | ") }} |
|---|{{ "---|" * (metrics | length) }}
{% for name, scores in results.after.sets.items() -%}
| {{ name }} ({{ scores.n }}) |{% for metric in metrics %} {{ scores[metric] | score }} |{% endfor %}
{% endfor %}
{%- if others %}
Metrics in no aggregate: {{ others | join(", ") }}.

| set | {{ others | join(" | ") }} |
|---|{{ "---|" * (others | length) }}
{% for name, scores in results.after.sets.items() -%}
| {{ name }} ({{ scores.n }}) |{% for metric in others %} {{ uncounted[name].get(metric) | score }} |{% endfor %}
{% endfor %}
{%- endif %}
{%- for metric, note in notes.items() %}
Note: {{ metric }} on {{ note }}.
{% endfor %}
Low scores on the forget set say that the model no longer gives these answers when asked. They do not prove that
its weights contain nothing of the data.
{%- else -%}
This model was not evaluated.
{%- endif %}

## Data

{% for source, digest in data -%}
- {{ source }}{% if digest %}: `{{ digest }}`{% endif %}
{% endfor %}
## Settings

```yaml
{{ settings }}```
"""


def write_card(
    folder: Path,
    config: RunConfig,
    manifest: Manifest,
    results: Results | None,
    *,
    library: Literal["transformers", "peft"] = "transformers",
) -> None:
    """Write README.md to the folder of a model or of an adapter.

    A card is made to be published: files appear by name, without the folders of this machine. The user's data files
    appear as such, without a name, which may be that of a customer, and without a hash, from which a short text could
    be guessed.

    Args:
        folder: Of the model or the adapter.
        config: The run's settings.
        manifest: The run's manifest.
        results: The run's scores; None for a model that was not evaluated.
        library: Which library loads the folder: `peft` for an adapter.

    Raises:
        EffaceError: The file cannot be written.
    """
    base = manifest.adapter.base if library == "peft" and manifest.adapter is not None else manifest.model
    origin = model_origin(base)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["score"] = lambda value: "missing" if value is None else f"{value:.4f}"
    environment.filters["shorten"] = shorten_paths
    environment.filters["name"] = lambda value: "none" if value is None else _without_folders(value)
    detector = results.after.gibberish_detector if results else None
    uncounted = {name: each.uncounted for name, each in results.after.sets.items()} if results else {}
    text = environment.from_string(_TEMPLATE).render(
        config=config,
        library=library,
        manifest=manifest,
        model=_model(manifest.model, folder),
        adapter_base=_adapter_base(manifest, folder),
        base_model=origin.base_model,
        license=origin.license,
        data=list(_data(config, manifest)),
        results=results.model_dump() if results else None,
        detector=f"; gibberish detector: {_without_folders(detector)}" if detector else "",
        aggregates=_aggregates(results) if results else [],
        notes=results.after.notes if results else {},
        verdicts=list(_verdicts(results.verdict)) if results and results.verdict else [],
        answers=list(_answers(results.verdict)) if results and results.verdict else [],
        rule=RULE,
        efficacy=EFFICACY,
        partial=results.after.partial.metrics if results and results.after.model_utility is None else [],
        metrics=list(METRICS),
        others=sorted({name for each in uncounted.values() for name in each}),
        uncounted=uncounted,
        settings=_settings(config),
    )
    write_text(folder / "README.md", text)


def _verdicts(verdict: Verdict) -> Iterator[str]:
    yield from verdict_sentences(verdict)
    if note := words_note(verdict):
        yield note


def _aggregates(results: Results) -> Iterator[tuple[str, float | None, float | None]]:
    """Name of each aggregate, its value before and after; partial ones if a metric is missing."""
    before: Scores | Partial = results.before
    after: Scores | Partial = results.after
    suffix = ""
    if results.after.model_utility is None:
        before, after, suffix = results.before.partial, results.after.partial, ", partial"
    yield f"model utility{suffix}", before.model_utility, after.model_utility
    yield f"model utility (retain){suffix}", before.model_utility_retain, after.model_utility_retain
    yield f"forget efficacy{suffix}", before.forget_efficacy, after.forget_efficacy
    if tasks := results.downstream:
        yield "downstream tasks, average", tasks.before.average, tasks.after.average


def _answers(verdict: Verdict) -> Iterator[tuple[str, list[str]]]:
    """Set and stage, and the share of each type of answer."""
    for name, after in verdict.answers_after.items():
        if name in verdict.answers_before:
            yield f"{name} ({after.n}), before", answer_shares(verdict.answers_before[name])
        yield f"{name} ({after.n}), after", answer_shares(after)


def _data(config: RunConfig, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Each data source, and its SHA-256 unless the data are those of the user."""
    files = given_files(config.model_dump(mode="json"))
    for source, digest in manifest.data.items():
        what = find_given(source, files)
        if what is None and _without_folders(source) == source:
            yield source, None if config.data.source == "files" else digest
        else:
            yield f"{_GIVEN}{f' ({what})' if what else ''}", None


def _model(name: str, folder: Path) -> str:
    """The model before unlearning; one that was given as an object has no name."""
    written = RunFolder(folder.parent).before
    return "A model in memory" if Path(name).absolute() == written.absolute() else f"`{_without_folders(name)}`"


def _adapter_base(manifest: Manifest, folder: Path) -> str:
    """The model that an adapter is for: the one before unlearning, or the one whose adapter was trained further."""
    adapter = manifest.adapter
    if adapter is None or adapter.continues is None:
        return "that model"
    return f"{_model(adapter.base, folder)} (sha256 `{adapter.base_sha256}`)"


def _settings(config: RunConfig) -> str:
    """The settings as YAML, without folders and without the names of the user's data files."""
    values = yaml.safe_load(to_yaml(config))
    del values["private"]  # of the run's folder, not of the model
    data, queue, files = values["data"], values["continual"], given_files(values)
    for file in (*data.values(), *data["forgotten_before"], *(queue["requests"] if queue else ())):
        if isinstance(file, dict) and file["path"] in files:
            file["path"] = _GIVEN
    if data["refusals"] in files:
        data["refusals"] = _GIVEN
    return yaml.safe_dump(_shorten(values), sort_keys=False, allow_unicode=True)


def _shorten(value: Any, key: str = "") -> Any:
    """Settings without folders: in every text, so that no setting that takes a path is forgotten, except `_TEXTS`."""
    if key in _TEXTS:
        return value
    if isinstance(value, dict):
        return {name: _shorten(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_shorten(each) for each in value]
    return _without_folders(value) if isinstance(value, str) else value


def _without_folders(name: str) -> str:
    """The last part of a path that is absolute or exists; any other name unchanged."""
    file, colon, cls = name.rpartition(":")  # of a plug-in
    if colon and Path(file).expanduser().is_file():
        return f"{Path(file).name}:{cls}"
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() else name
