"""The model card: what was forgotten, how, and what it scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from efface.artifacts import METRICS, Manifest, Results, write_text
from efface.hub import is_hub_name
from efface.run.config import RunConfig, to_yaml

_TEMPLATE = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- machine-unlearning
- efface
{% if base_model -%}
base_model: {{ base_model }}
{% endif -%}
---

# Unlearned with {{ config.method }}

`{{ model }}` (sha256 `{{ manifest.model_sha256 }}`) after unlearning with
[efface](https://pypi.org/project/efface/) {{ manifest.efface }}.
Load it as any causal language model of transformers.

{% if results -%}
## Scores

Definition `{{ results.definition }}`; embeddings: {{ results.after.embedder or "none" }}; \
judge: {{ results.after.judge or "none" }}.

| | before | after |
|---|---|---|
| model utility | {{ results.before.model_utility | score }} | {{ results.after.model_utility | score }} |
| model utility (retain) | {{ results.before.model_utility_retain | score }} | \
{{ results.after.model_utility_retain | score }} |
| forget efficacy | {{ results.before.forget_efficacy | score }} | {{ results.after.forget_efficacy | score }} |

| set | {{ metrics | join(" | ") }} |
|---|{{ "---|" * (metrics | length) }}
{% for name, scores in results.after.sets.items() -%}
| {{ name }} ({{ scores.n }}) |{% for metric in metrics %} {{ scores[metric] | score }} |{% endfor %}
{% endfor %}
{%- if results.after.missing %}
Missing: {% for what, why in results.after.missing.items() %}{{ what }} ({{ why }}){{ "; " if not loop.last }}\
{% endfor %}.
{% endif %}
Low scores on the forget set say that the model no longer gives these answers when asked. They do not prove that
nothing of the data is left in its weights.
{%- else -%}
This model was not evaluated.
{%- endif %}

## Data

{% for source, digest in data -%}
- {{ source }}: `{{ digest }}`
{% endfor %}
## Settings

```yaml
{{ settings }}```
"""


def write_card(folder: Path, config: RunConfig, manifest: Manifest, results: Results | None) -> None:
    """Write README.md into the model's folder; without `results` it says that there are none.

    A card is made to be shown: files appear by name, without the folders of the machine that it was made on.
    """
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["score"] = lambda value: "missing" if value is None else f"{value:.4f}"
    text = environment.from_string(_TEMPLATE).render(
        config=config,
        manifest=manifest,
        model=_without_folders(manifest.model),
        base_model=manifest.model.partition("@")[0] if is_hub_name(manifest.model) else None,
        data=[(_without_folders(source), digest) for source, digest in manifest.data.items()],
        results=results.model_dump() if results else None,
        metrics=list(METRICS),
        settings=yaml.safe_dump(_without_folders(yaml.safe_load(to_yaml(config))), sort_keys=False, allow_unicode=True),
    )
    write_text(folder / "README.md", text)


def _without_folders(value: Any) -> Any:
    """The value with every absolute path in it cut to its last part."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
