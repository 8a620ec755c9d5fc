"""The model under attack: asked in batches, and with weights that an attack may change for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from efface.auditing.attack import ModelName
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import check_position_limit
from efface.evaluation.generate import generate_from_ids
from efface.packing.forward import device_of
from efface.packing.logprobs import answer_logprobs
from efface.schema import Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter


@dataclass(frozen=True)
class Subject:
    """A model in memory, with what is needed to ask it."""

    name: ModelName
    model: Any
    """A causal language model of transformers, in evaluation mode."""
    formatter: PromptFormatter
    evaluate: EvaluateConfig
    """Of the audited run: limits of memory."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)

    @property
    def tokenizer(self) -> Any:
        """Of the model."""
        return self.formatter.tokenizer

    def answer(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int,
        starts: Sequence[str] | None = None,
        text_format: str | None = None,
    ) -> list[str]:
        """Decode greedily.

        Args:
            prompts: What the model is asked.
            max_new_tokens: Most tokens of an output.
            starts: Words with which each answer must begin; the outputs are what follows them.
            text_format: As the setting `text.format`, in place of the run's.

        Returns:
            The output for each prompt, special tokens removed.

        Raises:
            EffaceError: A prompt does not fit into the model's positions, or memory does not hold it.
        """
        formatter = self.formatter if text_format is None else self._formatter(text_format)
        ids = formatter.encode_prompts(prompts) if starts is None else formatter.encode_started(prompts, starts)
        return self.continue_ids(ids, max_new_tokens=max_new_tokens)

    def continue_ids(self, prompts: Sequence[list[int]], *, max_new_tokens: int) -> list[str]:
        """Decode greedily from token ids; otherwise as `answer`."""
        check_position_limit(self.model, prompts, max_new_tokens)
        generations = generate_from_ids(
            self.model,
            self.formatter,
            prompts,
            max_new_tokens=max_new_tokens,
            max_cache_tokens=self.evaluate.max_cache_tokens,
        )
        return [generation.text for generation in generations]

    def decode(self, outputs: Sequence[list[int]]) -> list[str]:
        """The texts of generated token ids, special tokens removed."""
        return [
            self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in outputs
        ]

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]]) -> list[list[float]]:
        """Natural-log probability of each token of answers, the end-of-sequence token included.

        Args:
            pairs: Prompts with their answers.
        """
        sequences = self.formatter.encode([(str(n), prompt, answer) for n, (prompt, answer) in enumerate(pairs)])
        return answer_logprobs(self.model, sequences, max_tokens_per_forward=self.evaluate.max_tokens_per_forward)

    @contextmanager
    def changed(self) -> Iterator[Any]:
        """The model, whose weights may be changed in the block and are put back after it.

        A copy of the weights is on the CPU meanwhile.

        Yields:
            The model.
        """
        parameters, buffers = list(self.model.parameters()), list(self.model.buffers())
        copies = [(each, each.detach().to("cpu", copy=True), each.requires_grad) for each in parameters]
        copied_buffers = [(each, each.detach().to("cpu", copy=True)) for each in buffers]
        try:
            yield self.model
        finally:
            for parameter, copy, requires_grad in copies:
                parameter.grad = None
                parameter.data = copy.to(parameter.device)  # also back in its dtype
                parameter.requires_grad_(requires_grad)
            for buffer, copy in copied_buffers:
                buffer.copy_(copy)
            self.model.eval()

    def _formatter(self, text_format: str) -> PromptFormatter:
        if text_format not in self._formatters:
            config = TextConfig.model_validate({**self.formatter.config.model_dump(), "format": text_format})
            self._formatters[text_format] = PromptFormatter(
                self.tokenizer, config, limit=self.formatter.limit, vocabulary=self.formatter.vocabulary
            )
        return self._formatters[text_format]

    @cached_property
    def _formatters(self) -> dict[str, PromptFormatter]:
        return {}
