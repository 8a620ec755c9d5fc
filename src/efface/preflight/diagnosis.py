"""What `efface doctor` finds out, printed as JSON with `--json`. Sizes are in bytes, times in seconds. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, computed_field

from efface.frozen import FrozenModel

Level = Literal["ok", "warning", "problem"]
"""A `problem` stops the run; a `warning` is something to know before it starts."""


class Finding(FrozenModel):
    """The result of one check."""

    level: Level
    about: str
    """What was checked, in a word or two."""
    text: str
    """What was found and, unless it is ok, what to do."""


class Gpu(FrozenModel):
    """A GPU that torch can use."""

    name: str
    free: int
    """Free memory, in bytes."""
    total: int
    """Total memory, in bytes."""


class Machine(FrozenModel):
    """The machine that efface runs on."""

    versions: dict[str, str | None]
    """Package -> version; None for a package that is not installed."""
    processor: str
    cores: int
    """Physical cores."""
    threads: int
    """Threads that torch computes with."""
    bf16: bool
    """Whether the GPU or, without one, the processor has bf16 instructions."""
    gpus: list[Gpu]
    memory_free: int
    """Free memory of the host in bytes, within the limit of a container."""
    memory_total: int
    """Total memory of the host, in bytes."""
    disk_free: int
    """Free bytes on the disk of the working directory."""
    cache: str
    """The folder in which models from the Hugging Face hub are cached."""
    cache_free: int
    """Free bytes on the disk of that folder."""
    token: bool
    """Whether there is an access token for the hub, in HF_TOKEN or from `hf auth login`."""


class Forecast(FrozenModel):
    """What a run needs, from the shapes of its model and the lengths of its data; sizes in bytes."""

    precision: str
    """Precision of the trained weights and of training, in words."""
    parameters: int
    """Number of the model's parameters."""
    trained: int
    """Number of parameters that are trained; with adapters, theirs."""
    weights: int
    """Weights in training, adapters included."""
    gradients: int
    optimizer: int
    """AdamW's two moments and step counters."""
    copies: int
    """Half-precision copies of float32 weights, kept during a step."""
    reference: int
    """What a comparison of whole distributions keeps in memory: a second model, or a copy of the output head."""
    tokens: int
    """Number of tokens in the largest forward with gradients."""
    checkpointing: bool
    """Whether layers keep only their inputs and are recomputed in the backward pass (gradient checkpointing)."""
    activations_per_token: int
    logits: int
    """Logits, and what the losses keep of them."""
    evaluated_weights: int
    """Weights in an evaluation."""
    cache: int
    """KV cache of the largest batch in generation, with all its new tokens."""
    evaluation_work: int
    """What one layer and the output head compute in the largest forward of an evaluation."""
    loading: int
    """Host memory that the weights pass through on their way to a GPU; 0 without one."""
    checkpoint: int
    """Size of one checkpoint on disk."""
    checkpoints: int
    """Largest number of checkpoints on disk at the same time."""
    saved: int
    """The unlearned model on disk."""
    epochs: int = 0
    """Trained weights of each epoch except the last, on disk until they are scored."""
    states: int = 0
    """Last hidden states of the reference model, on disk until the run is complete."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def activations(self) -> int:
        """Activations of the largest forward."""
        return self.tokens * self.activations_per_token

    @computed_field  # type: ignore[prop-decorator]
    @property
    def training(self) -> int:
        """Peak memory of the device in training."""
        state = self.weights + self.gradients + self.optimizer + self.reference
        return state + self.copies + self.activations + self.logits

    @computed_field  # type: ignore[prop-decorator]
    @property
    def evaluation(self) -> int:
        """Peak memory of the device in an evaluation, without embedder and judge."""
        return self.evaluated_weights + self.cache + self.evaluation_work

    @computed_field  # type: ignore[prop-decorator]
    @property
    def disk(self) -> int:
        """Peak space on disk: the last checkpoint stays until the next one, or the model, is complete.

        While an epoch is scored, its model is on disk as well.
        """
        models = self.saved * (2 if self.epochs else 1)
        end = min(self.checkpoints, 1) * self.checkpoint + models
        return max(self.checkpoints * self.checkpoint, end) + self.epochs + self.states


class Option(FrozenModel):
    """One of the options for training the model: all weights or adapters, quantized or not; sizes in bytes."""

    name: str
    setting: str
    """The settings that choose it."""
    weights: int
    gradients: int
    optimizer: int
    activations: int
    tokens: int
    """Number of tokens in the largest forward, to which `activations` belongs."""
    checkpointing: bool
    """As in `Forecast`."""
    training: int
    """Peak memory of the device in training, as in `Forecast`."""
    fits: bool
    """Whether the free memory is enough."""
    chosen: bool
    """Whether the run's settings choose it."""


Engine = Literal["one process", "DDP", "FSDP2", "ZeRO-3"]


class ProcessMemory(FrozenModel):
    """What some of several processes keep of the model, each; sizes in bytes."""

    engine: Engine
    """`DDP`: each has the whole model; `FSDP2` and `ZeRO-3`: each has a part (train.sharding)."""
    ranks: tuple[int, int]
    """The first and the last of them."""
    weights: int
    """Weights in training, adapters included."""
    gradients: int
    optimizer: int
    unsharded: int
    """At a time, and besides the shards: two layers, embeddings and output head, and gradients of a layer and of these;
    with DDP the half-precision copies of weights."""
    evaluation: int
    """Weights in an evaluation, with the layers that are unsharded at a time."""
    on_cpu: int = 0
    """With ZeRO-3, what is on the CPU besides: gradients, and weights and moments of the optimizer."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def training(self) -> int:
        """All of it in training, without activations."""
        return self.weights + self.gradients + self.optimizer + self.unsharded


class MeasuredSteps(FrozenModel):
    """What a few optimizer steps took."""

    loading: float
    """Seconds to load the weights."""
    first: float
    """Seconds of the warm-up step, which is not counted below."""
    count: int
    """Number of steps after it."""
    tokens_per_second: float
    memory: int
    """Peak memory in bytes, the warm-up step included: by how much the process grew, or the tensors on a GPU."""


class MeasuredQuestions(FrozenModel):
    """What a few questions took."""

    tokens_per_second: float
    """Tokens per second when likelihoods are computed."""
    decoding: float
    """Seconds to generate one token for each sequence of a batch, without the part that grows with the batch."""
    decoding_row: float
    """Seconds that each sequence of a batch adds to that."""
    padded: bool
    """Whether prompts of different lengths may be in one batch."""
    max_cache_tokens: int
    """Maximum size of the KV cache of one batch, in tokens: batch size x (longest prompt + new tokens)."""


class MeasuredCosts(FrozenModel):
    """What a part of the run took on this machine."""

    questions: MeasuredQuestions
    steps: MeasuredSteps


class Times(FrozenModel):
    """How long the run will take, extrapolated from what was measured; in seconds."""

    answers: float
    """Generating the model's answers to generic questions, where they are the retain set; an upper bound."""
    unlearning: float
    """Loading, reference and optimizer steps, without checkpoints."""
    evaluation: float
    """One evaluation without embedder and judge; an upper bound, since every output counts with all its new tokens."""
    evaluations: int = 2
    """Number of evaluations: before, after, and after each epoch where `evaluate.every` is set."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> float:
        """The whole run; an upper bound."""
        return self.answers + self.unlearning + self.evaluations * self.evaluation


class Diagnosis(FrozenModel):
    """Everything that `efface doctor` reports."""

    machine: Machine
    findings: list[Finding]
    forecast: Forecast | None = None
    """None without a run, and where its model's config.json is not available."""
    options: list[Option] = Field(default=[])
    """Options for training the model; empty where there is no forecast."""
    processes: list[ProcessMemory] = Field(default=[])
    """Memory by rank, for the number of processes that was asked about; empty where none was."""
    measured: MeasuredCosts | None = None
    """None where nothing should or could be measured."""
    times: Times | None = None
    """None where nothing was measured."""

    @property
    def problems(self) -> list[Finding]:
        """The findings that stop the run."""
        return [finding for finding in self.findings if finding.level == "problem"]
