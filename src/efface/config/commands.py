"""The settings of the commands that train or score a model, one config class each. No torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from efface.config.continual import ContinualConfig, request_data, with_first_request
from efface.config.plugins import Plugins, custom_objectives
from efface.data.config import MODEL_ANSWERS, DataConfig, ExcludedForgetSet, expand_data
from efface.downstream.config import DownstreamConfig
from efface.evaluation.config import EvaluateConfig
from efface.frozen import FrozenModel
from efface.hardware import Device
from efface.objectives.config import ObjectiveConfig, check_method, padded_length
from efface.objectives.custom import ForgetObjective, RetainObjective
from efface.scores import definition
from efface.text.config import TemplateConfig, TextConfig
from efface.train.config import TrainConfig


def _expand_lora(train: Any) -> Any:
    """Read `lora: true` as the paper's adapters, and `lora: false` as none."""
    if isinstance(train, dict) and isinstance(train.get("lora"), bool):
        return {**train, "lora": {} if train["lora"] else None}
    return train


def _expand_downstream(downstream: Any) -> Any:
    """Read `true` as the paper's five tasks, and `false` as none."""
    return ({} if downstream else None) if isinstance(downstream, bool) else downstream


def _known_definition(name: str) -> str:
    """Refuse an unknown definition of the scores."""
    return definition(name).name


class RunConfig(ObjectiveConfig):
    """Settings of `efface run` and `efface unlearn`, saved as config.yaml in the run's folder."""

    model_config = ConfigDict(allow_inf_nan=False)

    # `method` may name a custom objective, so plug-ins are validated before it
    plugins: Plugins = ()
    """Python files or modules with custom objectives and metrics, such as `[mine.py]`."""
    method: str
    """The unlearning method: a forget objective, a plus sign and a retain regularizer, such as `me+gd`; or a forget
    objective alone, which protects no other knowledge."""
    model: str
    """The model to unlearn from: a local folder, or the name of a model on the Hugging Face hub."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Default: the model's folder."""
    continual: ContinualConfig | None = None
    """Several forget requests, unlearned one after another. `data` then describes the first request."""
    data: DataConfig
    """The forget set and the retain set: a benchmark such as `tofu-forget01`, or your own files."""
    reference: str | None = None
    """The reference model that NPO, DPO and KL compare with: a local folder, or the name of a model on the hub.
    Default: the model before unlearning."""
    keep: float | None = Field(default=None, gt=0, le=1)
    """Share of the utility on the retain sets that the model must keep, such as 0.95: training stops where the
    bound is reached or the forget set is forgotten, and the last state within the bound is saved."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of every random choice, such as the order of the items, their retain partners, dropout and new adapters."""
    definition: str = "closer-look"
    """How the scores are defined: `closer-look` (published code of arXiv:2410.08109), `paper` (its text), `tofu` or
    `open-unlearning`."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
    private: bool = True
    """Only you can read the folder's files (0600, folders 0700); false: your umask decides."""
    text: TextConfig = TextConfig()
    """How questions and answers become tokens."""
    train: TrainConfig = TrainConfig()
    """How the model is trained."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How the model is evaluated before and after unlearning."""
    downstream: DownstreamConfig | None = None
    """Tasks of lm-evaluation-harness to score before and after unlearning; `true`: the paper's five. Default: none."""

    _short_data = field_validator("data", mode="before")(expand_data)
    _short_lora = field_validator("train", mode="before")(_expand_lora)
    _short_downstream = field_validator("downstream", mode="before")(_expand_downstream)
    _known_definition = field_validator("definition")(_known_definition)

    @property
    def scores_epochs(self) -> bool:
        """Whether the model of every epoch is scored in full."""
        return self.evaluate.every is not None and self.keep is None

    @model_validator(mode="before")
    @classmethod
    def _add_first_request_to_data(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("continual"), dict | ContinualConfig):
            return values
        try:
            queue = ContinualConfig.model_validate(values["continual"])
        except ValidationError:
            return values  # the field's own validation reports it
        data = expand_data(values.get("data", {}))
        data = data.model_dump(exclude_defaults=True) if isinstance(data, DataConfig) else data
        return {**values, "data": with_first_request(data, queue.requests)} if isinstance(data, dict) else values

    @model_validator(mode="after")
    def _check_requests(self) -> Self:
        if self.continual is not None:
            if self.reference is not None:
                raise ValueError(
                    "reference cannot be combined with continual; set continual.reference to first or previous"
                )
            if self.data.forgotten_before:
                raise ValueError(
                    "data.forgotten_before cannot be combined with continual; list every request in continual.requests"
                )
            try:
                request_data(self.data, self.continual.requests)
            except ValidationError as error:
                raise ValueError(f"continual.requests: {error.errors()[0]['ctx']['error']}") from error
        return self

    @model_validator(mode="after")
    def _check_keep(self) -> Self:
        if self.keep is None and isinstance(self.evaluate.every, int):
            raise ValueError(
                f"evaluate.every={self.evaluate.every} counts the steps between looks at keep; set keep, such as "
                "keep=0.95, or evaluate.every=epoch"
            )
        if self.keep is not None and self.evaluate.select_epoch == "best":
            raise ValueError(
                "keep saves the last state within the bound, and evaluate.select_epoch=best another one; set "
                "evaluate.select_epoch=last, or leave keep out"
            )
        if self.keep is not None and not definition(self.definition).efficacy_metrics:
            raise ValueError(
                f"keep compares utility and forget efficacy, and definition={self.definition} has no forget efficacy; "
                "use closer-look or paper"
            )
        return self

    @model_validator(mode="after")
    def _check_padded_rows(self) -> Self:
        length, train = padded_length(self.method, self), self.train
        if length is None:
            return self
        if train.max_tokens_per_forward is not None and train.max_tokens_per_forward < length:
            raise ValueError(
                f"train.max_tokens_per_forward={train.max_tokens_per_forward} is less than one padded row of {length} "
                "tokens, and no row can be packed or cut; raise it, or choose average=tokens for me and kl"
            )
        if train.max_row_length is not None and train.max_row_length > length:
            raise ValueError(
                f"train.max_row_length={train.max_row_length} is more than a padded row of {length} tokens; lower it, "
                "or raise padded_length of me and kl"
            )
        return self

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str, info: ValidationInfo) -> str:
        custom = custom_objectives(info.data.get("plugins", ()))
        return check_method(
            value,
            forget=[each.name for each in custom if isinstance(each, ForgetObjective)],
            retain=[each.name for each in custom if isinstance(each, RetainObjective)],
        )


class FinetuneConfig(FrozenModel):
    """Settings of `efface finetune`, which makes a target model."""

    model: str
    """The model to fine-tune: a local folder, or the name of a model on the Hugging Face hub."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Default: the model's folder."""
    data: DataConfig
    """The questions and answers to learn: the forget set and the retain set of this data."""
    without: ExcludedForgetSet | None = None
    """Leave out the forget set, to train a baseline that never saw it: `forget` leaves out what this data forgets, now
    and before; `forget01`, `forget05` and `forget10` leave out TOFU's set of that name."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of every random choice, such as the order of the items and dropout."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
    private: bool = True
    """Only you can read the folder's files (0600, folders 0700); false: your umask decides."""
    text: TextConfig = TextConfig()
    """How questions and answers become tokens."""
    train: TrainConfig = TrainConfig()
    """How the model is trained."""

    _short_data = field_validator("data", mode="before")(expand_data)
    _short_lora = field_validator("train", mode="before")(_expand_lora)

    @field_validator("data")
    @classmethod
    def _check_retain_set(cls, value: DataConfig) -> DataConfig:
        if value.retain == MODEL_ANSWERS:
            raise ValueError(
                "retain=model-answers is what a model says before unlearning, and teaches nothing: give "
                "data.retain=FILE, or leave it out to learn the forget set alone"
            )
        return value

    @field_validator("train")
    @classmethod
    def _check_train(cls, value: TrainConfig) -> TrainConfig:
        if value.watch:
            raise ValueError("watch=true compares forget and retain set while unlearning; fine-tune without it")
        if value.retain_bound is not None:
            raise ValueError("retain_bound bounds the loss on a retain set while unlearning; fine-tune without it")
        if value.sam.rho is not None:
            raise ValueError("sam.rho is about the loss on a forget set; fine-tune without it")
        if value.lora is not None and value.lora.adapter == "keep":
            raise ValueError("lora.adapter=keep continues an unlearning; fine-tune with lora.adapter=new")
        return value


class EvaluationConfig(FrozenModel):
    """Settings of `efface evaluate`, which scores one model."""

    model: str
    """The model to score: a local folder, or the name of a model on the Hugging Face hub."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Default: the model's folder."""
    data: DataConfig
    """The questions to score the model on."""
    weights: Literal["stored", "random"] = "stored"
    """`stored`: the model's weights. `random`: untrained weights in the same architecture, a baseline that knows
    nothing."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of `weights=random`. Nothing else is random: decoding is greedy."""
    plugins: Plugins = ()
    """Python files or modules with custom metrics, such as `[mine.py]`."""
    definition: str = "closer-look"
    """How the scores are defined: `closer-look` (published code of arXiv:2410.08109), `paper` (its text), `tofu` or
    `open-unlearning`."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
    private: bool = True
    """Only you can read the folder's files (0600, folders 0700); false: your umask decides."""
    text: TextConfig = TextConfig()
    """How questions and answers become tokens."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How the model is evaluated."""

    _short_data = field_validator("data", mode="before")(expand_data)
    _known_definition = field_validator("definition")(_known_definition)

    @field_validator("data")
    @classmethod
    def _check_retain_set(cls, value: DataConfig) -> DataConfig:
        if value.retain == MODEL_ANSWERS:
            raise ValueError(
                "retain=model-answers would compare the model with its own answers; use the answers of the model "
                "before unlearning: data.retain=RUN/model_answers.jsonl"
            )
        return value


class DownstreamRunConfig(FrozenModel):
    """Settings of `efface downstream`, which scores one model on tasks of lm-evaluation-harness."""

    model: str
    """The model to score: a local folder, or the name of a model on the Hugging Face hub."""
    tokenizer: str | None = None
    """Where the tokenizer is, if the model's folder has none: the folder or hub name of the model that it was trained
    from. Default: the model's folder."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the few-shot examples."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a CUDA GPU where there is one, otherwise the CPU."""
    private: bool = True
    """Only you can read the folder's files (0600, folders 0700); false: your umask decides."""
    text: TemplateConfig = TemplateConfig()
    """What the chat template of `downstream.chat_template` shows besides the conversation."""
    downstream: DownstreamConfig = DownstreamConfig()
    """Which tasks are scored, and how."""
