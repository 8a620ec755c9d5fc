"""The model before unlearning and the one after it, which answer the same questions."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from efface.chat.load_run import UnlearnedRun
from efface.chat.messages import MAX_NEW_TOKENS, SIDES, ChatRequest, Side, build_prompt
from efface.chat.stream import TokenStep, stream_answer
from efface.chat.suggestions import SuggestedQuestion
from efface.errors import EffaceError
from efface.files.sums import check_folder
from efface.hardware import Device
from efface.hardware.device import device_for
from efface.models.dtypes import evaluation_dtype
from efface.models.folder import model_folder, model_sha256, model_sums
from efface.models.load import load_model
from efface.models.open import generation_stops
from efface.models.tokenizer import load_tokenizer
from efface.packing.forward import position_limit, vocabulary_size
from efface.progress.reporter import Reporter
from efface.text.formatter import PromptFormatter

_LOCK_TIMEOUT = 5.0
"""Seconds to wait for the answer in progress, which ends soon after its reader disconnects."""


class Chat:
    """Two models that answer the same questions, one question at a time."""

    def __init__(
        self,
        models: Mapping[Side, Any],
        formatter: PromptFormatter,
        suggestions: Sequence[SuggestedQuestion],
        *,
        multi_turn: bool,
    ) -> None:
        """Wrap two loaded models.

        Args:
            models: Both models in evaluation mode.
            formatter: Encodes prompts for both.
            suggestions: The suggested questions.
            multi_turn: Whether prompts include the earlier turns of a conversation.
        """
        self.suggestions, self.multi_turn = tuple(suggestions), multi_turn
        self._models, self._formatter = models, formatter
        self._lock = threading.Lock()

    def answer(self, request: ChatRequest) -> Generator[tuple[Side, TokenStep], None, None]:
        """Answer a question with both models.

        Args:
            request: The question.

        Yields:
            One token of each model alternately, until both answers are complete. Close the generator to stop them.

        Raises:
            EffaceError: The question does not fit, a model generates numbers that are not finite, memory runs out, or
                another question is being answered.
        """
        prompts = {side: self._encode(side, request) for side in SIDES}
        with self._exclusive():
            answers = {
                side: stream_answer(
                    self._models[side],
                    self._formatter,
                    prompts[side],
                    max_new_tokens=min(request.max_new_tokens, self._free_positions(prompts[side])),
                    temperature=request.temperature,
                    seed=request.seed,
                )
                for side in SIDES
            }
            while answers:
                for side in [*answers]:
                    step = next(answers[side])
                    if step.answer is not None:
                        del answers[side]
                    yield side, step

    def wait_until_idle(self) -> None:
        """Wait until no question is being answered, at most a few seconds."""
        if self._lock.acquire(timeout=_LOCK_TIMEOUT):
            self._lock.release()

    def _encode(self, side: Side, request: ChatRequest) -> list[int]:
        prompt = build_prompt(side, request, self.suggestions, multi_turn=self.multi_turn)
        [ids] = self._formatter.encode_prompts([prompt])
        if self._free_positions(ids) < 1:
            raise EffaceError(
                f"the conversation has {len(ids):,} tokens, and the models read {self._formatter.limit:,}; start a new "
                "conversation or ask a shorter question"
            )
        return ids

    def _free_positions(self, ids: Sequence[int]) -> int:
        """How many tokens may follow the prompt."""
        limit = self._formatter.limit
        return MAX_NEW_TOKENS if limit is None else limit - len(ids)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_LOCK_TIMEOUT):
            raise EffaceError("another question is being answered; stop it or wait until it is complete")
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise EffaceError(
                "the GPU has too little memory for this conversation and both models; start a new conversation, or use "
                "--device cpu"
            ) from error
        finally:
            self._lock.release()


def open_chat(
    run: UnlearnedRun,
    suggestions: Sequence[SuggestedQuestion],
    *,
    before: str | None,
    device: Device,
    reporter: Reporter,
) -> Chat:
    """Load both models as the run evaluated them.

    Args:
        run: The run.
        suggestions: The suggested questions.
        before: Folder or hub name of the model before unlearning; None for the one in the run's settings.
        device: Where both models compute.
        reporter: Is notified of each model that is loaded.

    Returns:
        The two models.

    Raises:
        EffaceError: A model cannot be loaded, or `before` is not the model that the run started from.
    """
    name, target = before or run.settings.model, device_for(device)
    source = _verified_source(name, run)
    reporter.on_stage(f"loading the model before: {name}")
    dtype = evaluation_dtype(source, target, run.settings.evaluate.precision)
    first = load_model(source, dtype=dtype, device=target)
    reporter.on_stage(f"loading the model after: {run.after_model}")
    check_folder(run.after_model, model_sums(run.after_model))
    models: dict[Side, Any] = {"before": first, "after": load_model(run.after_model, dtype=dtype, device=target)}
    text = run.settings.text.model_copy(update={"max_length": None})  # a limit of training sequences only
    formatter = PromptFormatter(
        # a saved model has the tokenizer that the run used, wherever that was from
        load_tokenizer(source if run.settings.tokenizer is None else run.after_model),
        text,
        limit=position_limit(first),
        vocabulary=vocabulary_size(first),
        generation_stops=generation_stops(first),
    )
    formatter.encode_prompts([each.prompt for each in suggestions[:1]])  # fails early without a chat template
    return Chat(models, formatter, suggestions, multi_turn=text.format == "chat")


def _verified_source(name: str, run: UnlearnedRun) -> Path:
    """The folder of the model before unlearning, after a check of its hash."""
    try:
        source = model_folder(name)
    except EffaceError as error:
        raise EffaceError(f"the model before unlearning: {error}, or give where it is now as --before MODEL") from error
    if model_sha256(source) != run.before_sha256:
        raise EffaceError(
            f"model {name} is not the model that the run started from, its hash differs; give that model as --before "
            "MODEL"
        )
    return source
