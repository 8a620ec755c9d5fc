"""From the configuration of a run of open-unlearning to the settings that do the same, and what has no counterpart."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from efface.config.commands import RunConfig
from efface.config.open_unlearning.documents import document_data
from efface.config.open_unlearning.method import convert_method
from efface.config.open_unlearning.overrides import Tree
from efface.config.open_unlearning.settings import Settings, mapping, number, text
from efface.config.open_unlearning.tofu import check_tofu_subset, tofu_split
from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.text.config import FAMILIES

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant", "constant_with_warmup": "constant"}
_TRAIN_ARGS = {
    "learning_rate": "train.lr",
    "weight_decay": "train.weight_decay",
    "warmup_steps": "train.warmup_steps",
    "max_grad_norm": "train.max_grad_norm",
    "seed": "seed",
}
_WITHOUT_EFFECT = re.compile(
    r"logging_.*|report_to|output_dir|save_.*|do_(train|eval)|eval_.*|per_device_eval_batch_size|bf16(_full_eval)?|"
    r"remove_unused_columns|ddp_.*|dataloader_.*|run_name|load_best_model_at_end|metric_for_best_model|"
    r"num_train_epochs|max_steps|per_device_train_batch_size|gradient_accumulation_steps|lr_scheduler_type|"
    r"warmup_epochs|optim|gradient_checkpointing(_kwargs)?|overwrite_output_dir|disable_tqdm"
)
"""Arguments of transformers' trainer that are read elsewhere, or that decide nothing of the result."""


@dataclass(frozen=True)
class Converted:
    """Settings of `efface run`, and what of the other configuration they do not have."""

    settings: dict[str, Any]
    """Nested, without those that are defaults."""
    notes: tuple[str, ...]
    """One sentence for each part that has no counterpart, or does something else."""

    def to_yaml(self) -> str:
        """The settings as a config file."""
        dumped: str = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True)
        return dumped


def convert(run: Tree) -> Converted:
    """Convert the configuration of an unlearning run.

    Args:
        run: What `compose_config` returns.

    Returns:
        Settings that `efface run` takes, and notes.

    Raises:
        EffaceError: It is no unlearning run, or a value cannot be used.
    """
    found = Settings()
    trainer = mapping(run, "trainer")
    convert_method(trainer, _side(run, "forget")[1], found)
    _model(mapping(run, "model"), found)
    _data(run, found)
    _training(mapping(trainer, "args"), found)
    _evaluation(run, found)
    config = validate_config(RunConfig, found.nested())
    settings = config.model_dump(mode="json", exclude_defaults=True)
    first = {key: settings[key] for key in ("method", "model", "data") if key in settings}
    return Converted(first | settings, tuple(found.notes))


def _model(model: Tree, found: Settings) -> None:
    name = mapping(model, "model_args").get("pretrained_model_name_or_path")
    if not isinstance(name, str):
        raise EffaceError("model.model_args.pretrained_model_name_or_path is missing; add it, or model=NAME")
    found.values["model"] = name
    tokenizer = mapping(model, "tokenizer_args").get("pretrained_model_name_or_path")
    if isinstance(tokenizer, str) and tokenizer != name:
        found.values["tokenizer"] = tokenizer
    template = mapping(model, "template_args")
    if template.get("apply_chat_template"):
        if system := template.get("system_prompt"):
            found.values["text.system"] = system
        if date := template.get("date_string"):
            found.values["text.date"] = _date(date)
        return
    tags = ("system_prompt_with_special_tokens", "user_start_tag", "user_end_tag", "asst_start_tag")
    system, start, end, answer_start = (text(template, tag, "", where="model.template_args") for tag in tags)
    before, between = system + start, end + answer_start
    found.values["text.format"] = _named_format(f"{before}{{question}}{between}{{answer}}")
    if between.endswith(" "):
        found.notes.append(
            "template_args: a template that ends in a space leaves out the first token of the answer there; here it "
            "counts"
        )


def _named_format(pattern: str) -> str:
    known = {"Question: {question}\nAnswer: {answer}": "plain", "[INST] {question} [/INST]{answer}": "llama2"}
    assert set(known.values()) <= {family["format"] for family in FAMILIES.values()}
    return known.get(pattern, pattern)


def _date(value: object) -> str:
    try:
        return datetime.datetime.strptime(str(value), "%d %b %Y").date().isoformat()
    except ValueError as error:
        raise EffaceError(f"model.template_args.date_string={value!r} is no date such as 10 Apr 2025") from error


def _data(run: Tree, found: Settings) -> None:
    (forget_name, forget), (retain_name, retain) = _side(run, "forget"), _side(run, "retain")
    if (anchor := mapping(run, "data").get("anchor", "forget")) != "forget":
        found.values["train.anchor"] = anchor
    has_retain = "+" in found.values["method"]
    check_tofu_subset(_hub(forget), f"data.forget.{forget_name}")
    if has_retain:
        check_tofu_subset(_hub(retain), f"data.retain.{retain_name}")
    split = tofu_split(forget.get("handler"), _hub(forget))
    if split is not None:
        scored = {"forget_evaluation": 400, "retain_evaluation": 400}  # all questions
        found.values["data"] = {"source": "tofu", "split": split, **scored}
        expected = f"retain{100 - int(split[-2:]):02d}"
        if has_retain and _hub(retain).get("name") != expected:
            found.notes.append(
                f"data.retain.{retain_name}: {_hub(retain).get('name')!r} is not what {split} leaves; the retain set "
                f"is {expected}"
            )
    elif documents := document_data(forget, retain if has_retain else None):
        found.values["data"] = documents
        found.notes.append(
            f"data: `efface data fetch {documents['source']}-{documents['corpus']}` downloads these documents from the "
            "hub, of WMDP the first 1,000 of each corpus; chunks have at most as many tokens, with the first one"
        )
    else:
        found.values["data.forget"] = _file(forget, f"data.forget.{forget_name}", found)
        if has_retain:
            found.values["data.retain"] = _file(retain, f"data.retain.{retain_name}", found)
    if forget.get("handler") == "QAwithIdkDataset":
        found.notes.append(
            "data.forget: its 100 refusals are those of data/idk.jsonl; efface has 100 of its own, or data.refusals"
        )


def _file(data_set: Tree, where: str, found: Settings) -> dict[str, Any]:
    """A data set of the hub, or a local file, as `data.forget` has it."""
    arguments, hub = mapping(data_set, "args"), _hub(data_set)
    path = hub.get("path")
    if not isinstance(path, str):
        raise EffaceError(f"{where}.args.hf_args.path is missing; give the data set, or a file")
    if files := text(hub, "data_files", "", where=f"{where}.args.hf_args"):
        file: dict[str, Any] = {"path": files}
    else:
        file = {"path": f"hf:{path}", "split": hub.get("split", "train")}
        if hub.get("name") is not None:
            file["subset"] = str(hub["name"])
    keys = {
        "question_key": "question",
        "answer_key": "answer",
        "text_key": "text",
        "alternate_key": "alternate_answers",
    }
    columns = {ours: arguments[theirs] for theirs, ours in keys.items() if theirs in arguments}
    if columns:
        file["columns"] = columns
    if "text_key" in arguments:
        found.notes.append(
            f"{where}: it cuts texts into chunks of {arguments.get('max_length')} tokens; efface cuts passages of "
            "data.passage_length characters"
        )
    if PurePosixPath(file["path"]).suffix == "" and "data_files" in hub:
        found.notes.append(f"{where}.args.hf_args.data_files={files!r}: check that it is one file")
    return file


def _hub(data_set: Tree) -> Tree:
    return mapping(mapping(data_set, "args"), "hf_args")


def _training(arguments: Tree, found: Settings) -> None:
    size, accumulated = (
        arguments.get(key, 1) for key in ("per_device_train_batch_size", "gradient_accumulation_steps")
    )
    if not all(isinstance(each, int) and each > 0 for each in (size, accumulated)):
        raise EffaceError(
            "trainer.args: per_device_train_batch_size and gradient_accumulation_steps must be whole numbers above 0"
        )
    found.values |= {
        "train.batch_size": size * accumulated,
        "train.round_steps": "epoch",
        "train.average_over": "micro-batch",
        "train.micro_batch_size": size,
        "train.max_grad_norm": 1.0,  # of transformers, unless given
    }
    for theirs, ours in _TRAIN_ARGS.items():
        if theirs in arguments:
            found.values[ours] = arguments[theirs]
    if found.values["train.max_grad_norm"] == 0:
        found.values["train.max_grad_norm"] = None
    _length(arguments, found)
    _schedule(arguments, found)
    _memory(arguments, found)
    for name, value in arguments.items():
        if name not in _TRAIN_ARGS and not _WITHOUT_EFFECT.fullmatch(name):
            found.notes.append(f"trainer.args.{name}={value!r} has no counterpart that is known")
    found.notes.append(
        "several GPUs: batches of open-unlearning have train.batch_size items on each; here on all together, so "
        "multiply it by their number"
    )


def _length(arguments: Tree, found: Settings) -> None:
    if (steps := number(arguments, "max_steps", -1, where="trainer.args")) > 0:
        found.values["train.max_steps"] = steps
    epochs = number(arguments, "num_train_epochs", 3, where="trainer.args")
    if epochs != int(epochs):
        found.notes.append(f"trainer.args.num_train_epochs={epochs}: train.epochs is a whole number; rounded up")
    found.values["train.epochs"] = -int(-epochs // 1)


def _schedule(arguments: Tree, found: Settings) -> None:
    kind = text(arguments, "lr_scheduler_type", "linear", where="trainer.args")
    if kind not in _SCHEDULES:
        found.notes.append(f"trainer.args.lr_scheduler_type={kind!r} has no counterpart; train.schedule is linear")
    found.values["train.schedule"] = _SCHEDULES.get(kind, "linear")
    warm_up = arguments.get("warmup_epochs")
    if kind == "constant" or (not warm_up and "warmup_steps" not in arguments):
        found.values["train.warmup_steps"] = 0
    elif warm_up and warm_up != 1:
        found.notes.append(
            f"trainer.args.warmup_epochs={warm_up}: the warm-up is one epoch; set train.warmup_steps for another"
        )


def _memory(arguments: Tree, found: Settings) -> None:
    if arguments.get("gradient_checkpointing"):
        found.values["train.gradient_checkpointing"] = True
    optimizer = str(arguments.get("optim", "adamw_torch"))
    if "8bit" in optimizer:
        found.values["train.optimizer"] = "adamw8bit"
    elif "adamw" not in optimizer:
        found.notes.append(f"trainer.args.optim={optimizer} has no counterpart; AdamW trains")
    here = "bf16 with stochastic rounding" if "8bit" in optimizer else "float32"
    found.notes.append(
        "model.model_args.torch_dtype: its weights are bf16 while they are trained, so that most small updates round "
        f"away; here they are {here}"
    )


def _evaluation(run: Tree, found: Settings) -> None:
    found.values["definition"] = "open-unlearning"
    if (holdout := run.get("holdout_split")) and "split" in mapping(found.values, "data"):
        found.notes.append(
            f"holdout_split={holdout}: its privacy metrics need questions that no model saw; after "
            "`efface data fetch tofu-holdout`, data.holdout=published adds those of the split"
        )
    for name, evaluated in mapping(run, "eval").items():
        if not isinstance(evaluated, dict):
            continue
        if logs := evaluated.get("retain_logs_path"):
            found.notes.append(
                f"eval.{name}.retain_logs_path={logs}: forget quality comes from efface score RUN --against {logs}"
            )
        if any(metric.endswith("gibberish") for metric in mapping(evaluated, "metrics")):
            found.values["evaluate.gibberish_detector"] = "default"
        if (key := evaluated.get("question_key", "question")) == "paraphrased_question":
            found.values["evaluate.question"] = "paraphrased"
        elif key != "question":
            found.notes.append(f"eval.{name}.question_key={key}: questions are asked as they are in the data")


def _side(run: Tree, side: str) -> tuple[str, Tree]:
    """Name and content of the data set of a side."""
    sets = mapping(mapping(run, "data"), side)
    chosen = {name: each for name, each in sets.items() if isinstance(each, dict)}
    if len(chosen) != 1:
        raise EffaceError(f"data.{side} has {len(chosen)} data sets ({', '.join(chosen) or 'none'}); give one")
    return next(iter(chosen.items()))
