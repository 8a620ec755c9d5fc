"""A run's settings: one checked object, and the way there from a YAML file and key=value pairs."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from efface.data.config import OWN_ANSWERS, DataConfig, FileConfig, Without, parse_data, spelled_out
from efface.errors import EffaceError, nearest
from efface.evaluation.config import EvaluateConfig
from efface.objectives.config import ObjectiveConfig, check_method
from efface.objectives.own import ForgetObjective, RetainObjective
from efface.run.plugins import Plugins, own_objectives
from efface.scenarios.continual import ContinualConfig, request_data, with_first_request
from efface.scores import definition
from efface.text.template import TextConfig
from efface.train.config import TrainConfig

Device = Literal["auto", "cpu", "cuda"]
Config = TypeVar("Config", bound=BaseModel)

PRESET_KEYS = ("preset", "recipe")
"""What chooses settings and is none itself: a preset's name, and `ours` or `published` for its numbers."""

_HOW_TO_GIVE = {
    "data": "give a file as data.forget=FILE, or a benchmark such as data=tofu-forget01",
    "model": "give a folder or a name on the hub as model=MODEL",
    "method": "give one such as method=me+gd",
}


def _spelled_out(data: Any) -> Any:
    """`data: tofu-forget01` for short; forget and retain files may be paths alone, and need no `source`."""
    if isinstance(data, str):
        return parse_data(data).model_dump(exclude_defaults=True)
    if isinstance(data, dict) and (files := {key: data[key] for key in ("forget", "retain") if key in data}):
        return {"source": "files", **data, **{key: spelled_out(file) for key, file in files.items()}}
    return data


def _switched(train: Any) -> Any:
    """`lora: true` for the paper's adapters, `lora: false` for none."""
    if isinstance(train, dict) and isinstance(train.get("lora"), bool):
        return {**train, "lora": {} if train["lora"] else None}
    return train


def _known_definition(name: str) -> str:
    return definition(name).name


class RunConfig(ObjectiveConfig):
    """Everything that decides a run of `efface run`; kept as config.yaml in its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    plugins: Plugins = ()
    """Files or modules with objectives and metrics of one's own; in front of `method`, which may name one."""
    method: str
    model: str
    """A folder, or a name on the Hugging Face hub."""
    data: DataConfig
    reference: str | None = None
    """The model that NPO, DPO and KL compare with, a folder or a name on the hub; by default that before unlearning."""
    continual: ContinualConfig | None = None
    """Several requests, one after another; `data` is then that of the first."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    definition: str = "closer-look"
    device: Device = "auto"
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    _short_data = field_validator("data", mode="before")(_spelled_out)
    _short_lora = field_validator("train", mode="before")(_switched)
    _known_definition = field_validator("definition")(_known_definition)

    @model_validator(mode="before")
    @classmethod
    def _data_of_the_first_request(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("continual"), dict | ContinualConfig):
            return values
        try:
            queue = ContinualConfig.model_validate(values["continual"])
        except ValidationError:
            return values  # which the field itself says better
        data = _spelled_out(values.get("data", {}))
        data = data.model_dump(exclude_defaults=True) if isinstance(data, DataConfig) else data
        return {**values, "data": with_first_request(data, queue.requests)} if isinstance(data, dict) else values

    @model_validator(mode="after")
    def _requests_are_there(self) -> Self:
        if self.continual is not None:
            if self.reference is not None:
                raise ValueError("reference means nothing beside continual; set continual.reference=first or previous")
            if self.data.after:
                raise ValueError("data.after means nothing beside continual.requests; put them all into the requests")
            try:
                request_data(self.data, self.continual.requests)
            except ValidationError as error:
                raise ValueError(f"continual.requests: {error.errors()[0]['ctx']['error']}") from error
        return self

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str, info: ValidationInfo) -> str:
        own = own_objectives(info.data.get("plugins", ()))
        return check_method(
            value,
            forget=[each.name for each in own if isinstance(each, ForgetObjective)],
            retain=[each.name for each in own if isinstance(each, RetainObjective)],
        )


class FinetuneConfig(BaseModel):
    """Everything that decides a target model of `efface finetune`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: DataConfig
    without: Without | None = None
    """Leave out what is to be forgotten: that of the data (`forget`), or TOFU's forget set of this name. The model then
    never sees it, and others can be compared with it."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Device = "auto"
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()

    _short_data = field_validator("data", mode="before")(_spelled_out)
    _short_lora = field_validator("train", mode="before")(_switched)


class EvaluationConfig(BaseModel):
    """Everything that decides the scores of one model by `efface evaluate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: DataConfig
    weights: Literal["stored", "random"] = "stored"
    """`random`: an untrained model of the same kind, which knows nothing; to compare others with."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Decides random weights, and nothing else: decoding is greedy."""
    plugins: Plugins = ()
    """Files or modules with metrics of one's own."""
    definition: str = "closer-look"
    device: Device = "auto"
    text: TextConfig = TextConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    _short_data = field_validator("data", mode="before")(_spelled_out)
    _known_definition = field_validator("definition")(_known_definition)

    @field_validator("data")
    @classmethod
    def _answers_are_there(cls, value: DataConfig) -> DataConfig:
        if value.retain == OWN_ANSWERS:
            raise ValueError(
                "retain=generated compares a model with itself before unlearning; take that model's answers: "
                "data.retain=RUN/own_answers.jsonl"
            )
        return value


class LookConfig(BaseModel):
    """What `efface data check` and `efface data describe` look at: the data, through a model's eyes if one is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig
    model: str | None = None
    text: TextConfig = TextConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    _short_data = field_validator("data", mode="before")(_spelled_out)


def read_yaml(path: Path) -> dict[str, Any]:
    """A config file's settings. Raises `EffaceError` for one that cannot be read, is damaged or no mapping."""
    if path.is_dir():
        raise EffaceError(f"{path} is a folder; give a YAML file, such as the config.yaml of a run")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EffaceError(f"cannot read the config file {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise EffaceError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or error
        raise EffaceError(f"{path}{where}: not YAML ({problem}); write settings as `key: value`") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise EffaceError(f"{path} must hold settings such as `method: me+gd`, one a line")
    return content


def parse_pairs(pairs: Sequence[str], model: type[BaseModel]) -> dict[str, Any]:
    """`["train.lr=1e-5"]` as `{"train": {"lr": "1e-5"}}`; values are read as YAML, a later pair wins.

    What a setting takes as text stays as typed, so that `model=2024` is a folder and no number. Raises
    `EffaceError` for a pair without `=` and for a key that `model` does not have.
    """
    kinds = dotted_keys(model) | dict.fromkeys(PRESET_KEYS, str)
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise EffaceError(f"{pair!r} is not a setting; write key=value, such as train.lr=1e-5")
        if key not in kinds:
            raise EffaceError(_unknown_key(key, model))
        value = _value(text, kinds[key])
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def _value(text: str, kind: object) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    kinds = (kind, *get_args(kind))
    if FileConfig in kinds:  # a path, or settings of its own
        return value if isinstance(value, str | dict | None) else text
    return text if str in kinds and not isinstance(value, str | None) else value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping; data of another source starts anew."""
    result = dict(base)
    for key, value in over.items():
        old, new = result.get(key), value
        if key == "data" and isinstance(new, dict):
            old, new = _spelled_out(old), _spelled_out(new)
            if isinstance(old, dict) and "source" in old and old["source"] != new.get("source", old["source"]):
                old = None
        result[key] = merge(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    return result


def dotted_keys(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every key that a config of this class takes, nested ones with dots -> its type."""
    keys: dict[str, object] = {}
    for name, field in model.model_fields.items():
        keys[prefix + name] = field.annotation
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys |= dotted_keys(kind, f"{prefix}{name}.")
    return keys


def validated(model: type[Config], values: Mapping[str, Any]) -> Config:
    """Check settings. Raises `EffaceError` for one that is wrong: which, what was given, what is allowed."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        # a misspelled key comes first: it may be the reason why another one is missing
        problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise EffaceError(_sentence(problem, model)) from error


def _sentence(problem: ErrorDetails, model: type[BaseModel]) -> str:
    key, given = ".".join(str(part) for part in problem["loc"]), reprlib.repr(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            return _unknown_key(key, model)
        case "missing":
            return f"{key} is required; {_HOW_TO_GIVE.get(key, f'add {key}=... or a line `{key}: ...` to the config')}"
        case "model_type":
            inner = [name for name in dotted_keys(model) if name.startswith(f"{key}.")]
            return f"{key}={given}: it holds settings of its own; give them as {inner[0]}=... and so on"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
        case _:
            return f"{key}={given}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    """Which key is unknown, and what was meant: the same name in another group, or the nearest in its own."""
    keys = dotted_keys(model)
    group, _, name = key.rpartition(".")
    if elsewhere := [repr(full) for full in keys if full.rpartition(".")[2] == name]:
        return f"unknown key {key!r}; did you mean {' or '.join(elsewhere)}?"
    while not (beside := [full for full in keys if full.rpartition(".")[0] == group]):
        group = group.rpartition(".")[0]
    return f"unknown key {key!r}; {nearest(key, beside)}"


def to_yaml(config: BaseModel) -> str:
    """The resolved settings, every default spelled out; what a reader looks for comes first."""
    values = config.model_dump(mode="json")
    first = {key: values[key] for key in ("method", "model", "data", "seed") if key in values}
    text: str = yaml.safe_dump(first | values, sort_keys=False, allow_unicode=True)
    return text
