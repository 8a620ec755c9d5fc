"""The settings of a run, a fine-tuning and an evaluation: one checked object each."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from efface.config.continual import ContinualConfig, request_data, with_first_request
from efface.config.plugins import Plugins, custom_objectives
from efface.data.config import MODEL_ANSWERS, DataConfig, ExcludedForgetSet, FileConfig, expand_data, expand_path
from efface.downstream.config import DownstreamConfig
from efface.evaluation.config import EvaluateConfig
from efface.frozen import FrozenModel
from efface.hardware import Device
from efface.objectives.config import ObjectiveConfig, check_method
from efface.objectives.custom import ForgetObjective, RetainObjective
from efface.scores import definition
from efface.text.formatter import TextConfig
from efface.train.config import TrainConfig


def _expand_lora(train: Any) -> Any:
    """`lora: true` for the paper's adapters, `lora: false` for none."""
    if isinstance(train, dict) and isinstance(train.get("lora"), bool):
        return {**train, "lora": {} if train["lora"] else None}
    return train


def _expand_downstream(downstream: Any) -> Any:
    """`true` for the paper's five tasks, `false` for none."""
    return ({} if downstream else None) if isinstance(downstream, bool) else downstream


def _known_definition(name: str) -> str:
    return definition(name).name


class RunConfig(ObjectiveConfig):
    """Everything that decides a run of `efface run`; kept as config.yaml in its folder."""

    model_config = ConfigDict(allow_inf_nan=False)

    plugins: Plugins = ()
    """Files or modules with objectives and metrics of one's own; in front of `method`, which may name one."""
    method: str
    model: str
    """A folder, or a name on the Hugging Face hub."""
    continual: ContinualConfig | None = None
    """Several requests, one after another; `data` is then that of the first."""
    data: DataConfig
    reference: str | None = None
    """The model that NPO, DPO and KL compare with, a folder or a name on the hub; by default that before unlearning."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    definition: str = "closer-look"
    device: Device = "auto"
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    downstream: DownstreamConfig | None = None
    """What `efface run` also scores before and after, by lm-evaluation-harness; `true` for the paper's five tasks."""

    _short_data = field_validator("data", mode="before")(expand_data)
    _short_lora = field_validator("train", mode="before")(_expand_lora)
    _short_downstream = field_validator("downstream", mode="before")(_expand_downstream)
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
        data = expand_data(values.get("data", {}))
        data = data.model_dump(exclude_defaults=True) if isinstance(data, DataConfig) else data
        return {**values, "data": with_first_request(data, queue.requests)} if isinstance(data, dict) else values

    @model_validator(mode="after")
    def _requests_are_there(self) -> Self:
        if self.continual is not None:
            if self.reference is not None:
                raise ValueError("reference means nothing beside continual; set continual.reference=first or previous")
            if self.data.forgotten_before:
                raise ValueError(
                    "data.forgotten_before means nothing beside continual.requests; put them all into the requests"
                )
            try:
                request_data(self.data, self.continual.requests)
            except ValidationError as error:
                raise ValueError(f"continual.requests: {error.errors()[0]['ctx']['error']}") from error
        return self

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str, info: ValidationInfo) -> str:
        own = custom_objectives(info.data.get("plugins", ()))
        return check_method(
            value,
            forget=[each.name for each in own if isinstance(each, ForgetObjective)],
            retain=[each.name for each in own if isinstance(each, RetainObjective)],
        )


class FinetuneConfig(FrozenModel):
    """Everything that decides a target model of `efface finetune`."""

    model: str
    data: DataConfig
    without: ExcludedForgetSet | None = None
    """Leave out what is to be forgotten: that of the data, now and before (`forget`), or TOFU's set of that name. That
    model never sees it, and others can be compared with it."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Device = "auto"
    text: TextConfig = TextConfig()
    train: TrainConfig = TrainConfig()

    _short_data = field_validator("data", mode="before")(expand_data)
    _short_lora = field_validator("train", mode="before")(_expand_lora)


class EvaluationConfig(FrozenModel):
    """Everything that decides the scores of one model by `efface evaluate`."""

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

    _short_data = field_validator("data", mode="before")(expand_data)
    _known_definition = field_validator("definition")(_known_definition)

    @field_validator("data")
    @classmethod
    def _answers_are_there(cls, value: DataConfig) -> DataConfig:
        if value.retain == MODEL_ANSWERS:
            raise ValueError(
                "retain=model-answers compares a model with itself before unlearning; take that model's answers: "
                "data.retain=RUN/model_answers.jsonl"
            )
        return value


class DataInspectionConfig(FrozenModel):
    """What `efface data check` and `efface data describe` look at: the data, through a model's eyes if one is named."""

    data: DataConfig
    model: str | None = None
    text: TextConfig = TextConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    _short_data = field_validator("data", mode="before")(expand_data)


class DownstreamRunConfig(FrozenModel):
    """Everything that decides the scores of one model by `efface downstream`."""

    model: str
    """A folder, or a name on the Hugging Face hub."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Decides which examples come before a question."""
    device: Device = "auto"
    downstream: DownstreamConfig = DownstreamConfig()


class AnswerGenerationConfig(FrozenModel):
    """How a model answers."""

    max_new_tokens: int = Field(default=200, gt=0)
    """Most tokens of an answer; one that is longer ends behind its last whole sentence."""
    max_cache_tokens: int | None = Field(default=None, gt=0)
    """Generation keeps at most so many tokens in its cache: rows x (longest prompt + max_new_tokens); by default as many as
    fit into half of the free memory."""


class ProbeGenerationConfig(AnswerGenerationConfig):
    """How a model answers, and says how likely it holds other answers."""

    max_new_tokens: int = Field(default=64, gt=0)
    """Most tokens of an answer: what a model knows, it says in its first sentences."""
    max_tokens_per_forward: int = Field(default=8_192, gt=0)
    """Likelihoods put at most so many tokens through the model at once."""


class AnswersConfig(FrozenModel):
    """Everything that decides what `efface data answers` writes."""

    model: str
    questions: FileConfig
    device: Device = "auto"
    text: TextConfig = TextConfig()
    evaluate: AnswerGenerationConfig = AnswerGenerationConfig()

    _short_questions = field_validator("questions", mode="before")(expand_path)


class ProbeConfig(FrozenModel):
    """Everything that decides what `efface data probe` finds and writes."""

    model: str
    questions: FileConfig | None = None
    """None: the facts that come with efface."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Decides what is to be forgotten, kept and scored."""
    device: Device = "auto"
    text: TextConfig = TextConfig()
    evaluate: ProbeGenerationConfig = ProbeGenerationConfig()

    _short_questions = field_validator("questions", mode="before")(expand_path)
