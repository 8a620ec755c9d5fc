"""The model before unlearning and the one after it, side by side."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from efface.chat.load_run import UnlearnedRun
from efface.chat.messages import MOST_NEW_TOKENS, SIDES, ChatRequest, Side, prompt_for
from efface.chat.stream import TokenStep, stream_answer
from efface.chat.suggestions import SuggestedQuestion
from efface.errors import EffaceError
from efface.hardware import Device
from efface.hardware.device import device_for
from efface.models.dtypes import evaluation_dtype
from efface.models.folder import model_folder, model_sha256
from efface.models.load import load_model, load_tokenizer
from efface.packing.forward import position_limit, vocabulary_size
from efface.progress.reporter import Reporter
from efface.text.formatter import PromptFormatter

_PATIENCE = 5.0
"""Seconds until an answer that is being written must have ended, as it does when whoever asked has left."""


class Chat:
    """Two models that answer the same questions, one question at a time."""

    def __init__(
        self,
        models: dict[Side, Any],
        formatter: PromptFormatter,
        presets: Sequence[SuggestedQuestion],
        *,
        keeps_turns: bool,
    ) -> None:
        self.presets, self.keeps_turns = tuple(presets), keeps_turns
        self._models, self._formatter = models, formatter
        self._answering = threading.Lock()

    def ask(self, asked: ChatRequest) -> Generator[tuple[Side, TokenStep], None, None]:
        """Both answers, in turn a token each; close the iterator to stop them.

        Raises `EffaceError` for a question that does not fit, a model that breaks, and while another is answered.
        """
        prompts = {side: self._ids(side, asked) for side in SIDES}
        with self._alone():
            answers = {
                side: stream_answer(
                    self._models[side],
                    self._formatter,
                    prompts[side],
                    max_new_tokens=min(asked.max_new_tokens, self._room(prompts[side])),
                    temperature=asked.temperature,
                    seed=asked.seed,
                )
                for side in SIDES
            }
            while answers:
                for side in [*answers]:
                    step = next(answers[side])
                    if step.answer is not None:
                        del answers[side]
                    yield side, step

    def wait(self) -> None:
        """Until no question is being answered, but not for long."""
        if self._answering.acquire(timeout=_PATIENCE):
            self._answering.release()

    def _ids(self, side: Side, asked: ChatRequest) -> list[int]:
        prompt = prompt_for(side, asked, self.presets, keeps_turns=self.keeps_turns)
        [ids] = self._formatter.encode_prompts([prompt])
        if self._room(ids) < 1:
            raise EffaceError(
                f"question and conversation take {len(ids):,} tokens, and the models read {self._formatter.limit:,}; "
                "start a new conversation or ask less"
            )
        return ids

    def _room(self, ids: Sequence[int]) -> int:
        """How many tokens may follow."""
        limit = self._formatter.limit
        return MOST_NEW_TOKENS if limit is None else limit - len(ids)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._answering.acquire(timeout=_PATIENCE):
            raise EffaceError("another question is being answered; stop that or wait for its end")
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise EffaceError(
                "the GPU's memory does not hold this conversation beside both models; start a new one, or use "
                "--device cpu"
            ) from error
        finally:
            self._answering.release()


def open_chat(
    run: UnlearnedRun, presets: Sequence[SuggestedQuestion], *, before: str | None, device: Device, reporter: Reporter
) -> Chat:
    """Load both models as the run evaluated them. `before`: where the first one lies, if not where the run found it.

    Raises `EffaceError` for a model that does not load, and a first one that is not that of the run.
    """
    name, on = before or run.settings.model, device_for(device)
    source = _source(name, run)
    reporter.on_stage(f"loading the model before: {name}")
    dtype = evaluation_dtype(source, on, run.settings.evaluate.precision)
    first = load_model(source, dtype=dtype, device=on)
    reporter.on_stage(f"loading the model after: {run.after}")
    models: dict[Side, Any] = {"before": first, "after": load_model(run.after, dtype=dtype, device=on)}
    text = run.settings.text.model_copy(update={"max_length": None})  # which is about what is trained on
    formatter = PromptFormatter(
        load_tokenizer(source), text, limit=position_limit(first), vocabulary=vocabulary_size(first)
    )
    formatter.encode_prompts([each.prompt for each in presets[:1]])  # a model without a chat template is refused here
    return Chat(models, formatter, presets, keeps_turns=text.format == "chat")


def _source(name: str, run: UnlearnedRun) -> Path:
    try:
        source = model_folder(name)
    except EffaceError as error:
        raise EffaceError(f"the model before unlearning: {error} (--before says where it lies now)") from error
    if model_sha256(source) != run.sha256:
        raise EffaceError(
            f"model {name} is not the one that the run started from, its hash differs; give that one as --before MODEL"
        )
    return source
