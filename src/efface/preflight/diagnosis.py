"""What `efface doctor` finds out: typed, and printed as JSON. Sizes are in bytes, times in seconds. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, computed_field

from efface.frozen import FrozenModel

Level = Literal["ok", "warning", "problem"]
"""A `problem` stops the run; a `warning` is something to know before it starts."""


class Finding(FrozenModel):
    """One thing that was looked at."""

    level: Level
    about: str
    """What was looked at, in a word or two."""
    text: str
    """What is the case and, unless it is well, what to do."""


class Gpu(FrozenModel):
    """A GPU that torch sees."""

    name: str
    free: int
    total: int


class Machine(FrozenModel):
    """Where efface would run."""

    versions: dict[str, str | None]
    """Package -> version; None for one that is not installed."""
    processor: str
    cores: int
    threads: int
    """That torch computes with."""
    bf16: bool
    """Whether the GPU or, without one, the processor has instructions for it."""
    gpus: list[Gpu]
    memory_free: int
    """Of the host, within the limit of a container."""
    memory_total: int
    disk_free: int
    """In the working directory."""
    cache: str
    """The folder that models of the hub are kept in."""
    cache_free: int
    token: bool
    """Whether there is one for the hub, in HF_TOKEN or from `hf auth login`."""


class Forecast(FrozenModel):
    """What a run needs, from the shapes of its model and the lengths of its data."""

    precision: str
    """Of what is trained and of training, in words."""
    parameters: int
    trained: int
    """How many of these parameters change, adapters included."""
    weights: int
    """Of the model in training, adapters included."""
    gradients: int
    optimizer: int
    """AdamW's two moments and step counters."""
    copies: int
    """Half-precision copies of the weights, which autocast keeps during a step."""
    reference: int
    """Where the method compares with whole distributions: a second model, or the head of the first one."""
    tokens: int
    """Of the largest forward with gradients."""
    checkpointing: bool
    """Whether layers keep their inputs alone and are computed again in the backward pass."""
    activations_per_token: int
    logits: int
    """Logits and what the losses keep of them."""
    evaluated_weights: int
    cache: int
    """Keys and values of the largest batch of generation, with all its new tokens."""
    evaluation_work: int
    """What one layer and the head make of the largest forward of an evaluation."""
    loading: int
    """Memory of the host through which the weights go on their way to a GPU; 0 without one."""
    checkpoint: int
    checkpoints: int
    """How many lie on disk at once, at most."""
    saved: int
    """The unlearned model on disk."""
    epochs: int = 0
    """What was trained by the end of each epoch but the last, on disk until it is scored."""
    states: int = 0
    """Last hidden states of the model that KL compares with, on disk until the run is complete."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def activations(self) -> int:
        """Of the largest forward."""
        return self.tokens * self.activations_per_token

    @computed_field  # type: ignore[prop-decorator]
    @property
    def training(self) -> int:
        """Most memory of the device in training."""
        state = self.weights + self.gradients + self.optimizer + self.reference
        return state + self.copies + self.activations + self.logits

    @computed_field  # type: ignore[prop-decorator]
    @property
    def evaluation(self) -> int:
        """Most memory of the device in an evaluation, the judges aside."""
        return self.evaluated_weights + self.cache + self.evaluation_work

    @computed_field  # type: ignore[prop-decorator]
    @property
    def disk(self) -> int:
        """Most space that the run takes: the last checkpoint stays until the next one, or the model, is whole.

        Each epoch's model lies beside that of the run while it is scored.
        """
        models = self.saved * (2 if self.epochs else 1)
        end = min(self.checkpoints, 1) * self.checkpoint + models
        return max(self.checkpoints * self.checkpoint, end) + self.epochs + self.states


class Option(FrozenModel):
    """A way to train the same model."""

    name: str
    setting: str
    """That chooses it."""
    weights: int
    gradients: int
    optimizer: int
    activations: int
    tokens: int
    """Of the largest forward, whose activations these are."""
    checkpointing: bool
    """As in `Forecast`."""
    training: int
    """Most memory of the device, with all else that training needs."""
    fits: bool
    chosen: bool
    """Whether the run as it is configured trains so."""


class MeasuredSteps(FrozenModel):
    """What a few optimizer steps took."""

    loading: float
    """Seconds to read the weights."""
    first: float
    """Seconds of the step that was taken to warm up, and counts nowhere else."""
    count: int
    """Steps behind it."""
    tokens_per_second: float
    memory: int
    """Most that all of them took of the device: by how much the process grew, or a GPU's tensors."""


class MeasuredQuestions(FrozenModel):
    """What a few questions took."""

    tokens_per_second: float
    """Read, in likelihoods."""
    decoding: float
    """Seconds in which generation makes one token of every row, less what each row adds."""
    decoding_row: float
    """Seconds that each row of a batch adds."""
    padded: bool
    """Whether prompts of different lengths may stand in one batch."""
    max_cache_tokens: int
    """Of one batch, at most: rows x (longest prompt + new tokens)."""


class Measured(FrozenModel):
    """What a part of the run took here."""

    questions: MeasuredQuestions
    steps: MeasuredSteps


class Times(FrozenModel):
    """What the run will take, from what was measured."""

    answers: float
    """The model's own answers to generic questions, where they are what to keep; at most."""
    unlearning: float
    """Loading, reference and steps; no checkpoints."""
    evaluation: float
    """Each; at most, for it counts all new tokens of every output, and no judges."""
    evaluations: int = 2
    """Before and after, and after each epoch where that was asked for."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> float:
        """At most."""
        return self.answers + self.unlearning + self.evaluations * self.evaluation


class Diagnosis(FrozenModel):
    """Everything that the doctor says."""

    machine: Machine
    findings: list[Finding]
    forecast: Forecast | None = None
    """None without a run, or without the settings of its model."""
    options: list[Option] = Field(default=[])
    measured: Measured | None = None
    """None where nothing was to be measured, or could be."""
    times: Times | None = None

    @property
    def problems(self) -> list[Finding]:
        """What stops the run."""
        return [finding for finding in self.findings if finding.level == "problem"]
