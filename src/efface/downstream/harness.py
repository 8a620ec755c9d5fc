"""Score a model in memory on downstream tasks, with lm-evaluation-harness as a library."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Mapping
from typing import Any

from efface.artifacts import Downstream, TaskScore
from efface.downstream.chat_template import with_limited_template
from efface.downstream.config import DownstreamConfig
from efface.downstream.isolation import isolated_randomness, preserve_modes, quiet, with_output
from efface.downstream.load_data import load_task
from efface.downstream.progress import Progress, Warn, track_requests
from efface.downstream.tasks import find_tasks
from efface.errors import EffaceError, summarize_error
from efface.text.config import TemplateConfig

_BOOTSTRAP_RESAMPLES = 1000
"""For the standard error of a metric that is not a mean; none of the paper's metrics needs it."""


def check_template(config: DownstreamConfig, tokenizer: Any) -> None:
    """Check that the tokenizer has a chat template if one is set.

    Args:
        config: Settings; `chat_template` requires one.
        tokenizer: The model's tokenizer.

    Raises:
        EffaceError: When there is none.
    """
    if config.chat_template and not tokenizer.chat_template:
        raise EffaceError("downstream.chat_template=true: the model's tokenizer has no chat template; leave it out")


def score_downstream(
    model: Any,
    tokenizer: Any,
    config: DownstreamConfig,
    *,
    seed: int,
    text: TemplateConfig | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Downstream:
    """Score a model on each of the tasks, on its device and in its dtype.

    Model, tokenizer and the global random generators are left unchanged.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        config: Tasks and settings.
        text: The system turn and the date of `config.chat_template`; None for the defaults.
        seed: Decides the few-shot examples of each task, independent of the other tasks.
        progress: Called with the task, how many of its questions are done, and how many there are.
        warn: Called with each warning.

    Returns:
        The scores of all tasks.

    Raises:
        EffaceError: When a task, metric or data set is not available, before anything is scored; or a task fails.
    """
    resolved = find_tasks(config)
    check_template(config, tokenizer)
    report, warning = with_output(progress or _ignore), with_output(warn or _ignore)
    scores: dict[str, TaskScore] = {}
    with quiet(), preserve_modes(model), isolated_randomness(seed, model):
        loaded = {name: load_task(resolved.manager, name) for name in config.tasks}
        from lm_eval import __version__
        from lm_eval.models.huggingface import HFLM

        given = text or TemplateConfig()
        tokenizer = with_limited_template(tokenizer, given) if config.chat_template else copy.deepcopy(tokenizer)
        lm = HFLM(model, backend="causal", tokenizer=tokenizer, batch_size=config.batch_size)
        for name, members in loaded.items():
            with isolated_randomness(seed, model), track_requests(lm, name, members["tasks"], report, warning):
                scores[name] = _score_task(
                    lm, name, members, metric=resolved.metrics[name], config=config, system=given.system, seed=seed
                )
    average = statistics.fmean(score.value for score in scores.values())
    return Downstream(lm_eval=__version__, average=average, tasks=scores)


def _score_task(
    lm: Any,
    name: str,
    loaded: Mapping[str, Any],
    *,
    metric: str | None,
    config: DownstreamConfig,
    system: str | None,
    seed: int,
) -> TaskScore:
    """The score of a task or group, whose tasks `loaded` has."""
    import torch
    from lm_eval import evaluate

    tasks = [*loaded["tasks"].values()]
    for task in tasks:
        _set_fewshot(task, config.num_fewshot, seed)
    try:
        results = evaluate(
            lm=lm,
            task_dict=loaded,
            limit=config.limit,
            bootstrap_iters=_BOOTSTRAP_RESAMPLES,
            log_samples=False,
            apply_chat_template=config.chat_template,
            system_instruction=system if config.chat_template else None,
            fewshot_as_multiturn=config.chat_template,
        )
    except EffaceError:
        raise
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"task {name}: the GPU's memory does not hold downstream.batch_size={config.batch_size} of its prompts; "
            "set a smaller one"
        ) from error
    except Exception as error:  # the library, its tasks and transformers raise errors of any type
        raise EffaceError(
            f"task {name} cannot be scored ({summarize_error(error)}); leave it out of downstream.tasks"
        ) from error
    shots = {task.config.num_fewshot for task in tasks}
    return _task_score(
        name,
        results["results"][name],
        metric,
        n=sum(results["n-samples"][task.task_name]["effective"] for task in tasks),
        num_fewshot=shots.pop() if len(shots) == 1 else None,
    )


def _set_fewshot(task: Any, number: int | None, seed: int) -> None:
    """Set number and choice of few-shot examples, as the command line of the library does."""
    default = task.config.num_fewshot
    task.set_config("num_fewshot", default if default == 0 or number is None else number)
    if task.config.num_fewshot is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(seed)


def _task_score(
    name: str, row: Mapping[str, Any], metric_name: str | None, *, n: int, num_fewshot: int | None
) -> TaskScore:
    """One metric from the library's results of a task, whose keys are `metric,filter`; the first if none is named."""
    parts = {key: key.split(",", 1) for key in row if "," in key}
    values = {key: (metric, filter_) for key, (metric, filter_) in parts.items() if not metric.endswith("_stderr")}
    key = next((key for key, (metric, _) in values.items() if metric_name in (None, key, metric)), None)
    if key is None:
        raise EffaceError(
            f"task {name} has no result {metric_name}; name one of these in downstream.metrics: {', '.join(values)}"
        )
    metric, filter_ = values[key]
    value, error = float(row[key]), row.get(f"{metric}_stderr,{filter_}")
    if not math.isfinite(value):
        raise EffaceError(f"task {name}: its {key} is {value}; check the model, or leave the task out")
    return TaskScore(
        metric=metric if filter_ == "none" else key,
        value=value,
        standard_error=error if isinstance(error, float) and math.isfinite(error) else None,
        n=n,
        num_fewshot=num_fewshot,
    )


def _ignore(*_: object) -> None:
    pass
