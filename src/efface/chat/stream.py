"""One answer, token by token, with what the model might have said instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from efface.errors import EffaceError
from efface.evaluation.greedy_decoder import can_decode
from efface.packing.forward import device_of, unwrap_peft
from efface.text.formatter import PromptFormatter

_LIKELY = 10
"""Tokens that are told at each place."""
_HALF = "\N{REPLACEMENT CHARACTER}"
"""What tokenizers decode a part of a character to."""


@dataclass(frozen=True)
class TokenChoice:
    """A token that may come next."""

    token: str
    """As it reads alone; special tokens by their name."""
    probability: float


@dataclass(frozen=True)
class TokenStep:
    """One more token of an answer."""

    text: str
    """What the answer grows by; nothing while a character is not whole."""
    chosen: TokenChoice
    likely: tuple[TokenChoice, ...]
    """The most likely tokens, falling."""
    entropy: float
    """Of the whole distribution over the vocabulary, in nats."""
    answer: str | None
    """In the last step alone: the whole answer, special tokens removed."""


def stream_answer(
    model: Any,
    formatter: PromptFormatter,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[TokenStep]:
    """What `model`, in evaluation mode, says behind `prompt`: at least one step, at most `max_new_tokens`.

    Greedy at `temperature` 0, with the text that `efface.evaluation.generate` gives; else drawn with `seed`.
    Probabilities and entropies are the model's own, whatever the temperature. The step that chooses one of
    `formatter.stop_ids` is the last. Raises `EffaceError` where the model gives no finite numbers.
    """
    reader, draw = _Reader(model, prompt), torch.Generator().manual_seed(seed)
    said: list[int] = []
    shown = ""
    for left in reversed(range(max_new_tokens)):
        logits_V = reader.logits()
        probabilities_V = _probabilities(logits_V)
        id_ = _chosen(logits_V, temperature, draw)
        ends = id_ in formatter.stop_ids or not left
        if id_ not in formatter.stop_ids:
            said.append(id_)
        reader.ids.append(id_)
        text = formatter.tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        whole = text if ends else text.rstrip(_HALF)
        grown = whole.removeprefix(shown) if whole.startswith(shown) else ""
        shown += grown
        yield TokenStep(
            text=grown,
            chosen=_choice(formatter, id_, probabilities_V),
            likely=tuple(_choice(formatter, each, probabilities_V) for each in _most_likely(probabilities_V)),
            entropy=float(torch.special.entr(probabilities_V).sum()),
            answer=text if ends else None,
        )
        if ends:
            return


class _Reader:
    """A model that reads `ids`, each of them once where it has a cache of keys and values."""

    def __init__(self, model: Any, ids: Sequence[int]) -> None:
        from transformers import DynamicCache

        self.ids, self._model, self._read = list(ids), unwrap_peft(model), 0
        cached = can_decode(self._model)
        self._cache = DynamicCache(config=self._model.config.get_text_config(decoder=True)) if cached else None

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Logits [V] of the token behind all of `ids`, in float32."""
        device = device_of(self._model)
        if self._cache is None:  # slower and slower, but right for any architecture
            found = self._model(input_ids=torch.tensor([self.ids], device=device), use_cache=False)
        else:
            found = self._model(
                input_ids=torch.tensor([self.ids[self._read :]], device=device),
                attention_mask=torch.ones(1, len(self.ids), dtype=torch.long, device=device),
                position_ids=torch.arange(self._read, len(self.ids), device=device)[None],
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            self._read = len(self.ids)
        logits_V: Tensor = found.logits[0, -1].float()
        return logits_V


def _probabilities(logits_V: Tensor) -> Tensor:
    probabilities_V = logits_V.softmax(-1)
    if not bool(probabilities_V.isfinite().all()):
        raise EffaceError("the model gives no finite numbers; its weights are damaged, as by a training that diverged")
    return probabilities_V


def _chosen(logits_V: Tensor, temperature: float, draw: torch.Generator) -> int:
    if temperature == 0:
        return int(logits_V.argmax())
    weights_V = (logits_V / temperature).softmax(-1).cpu()  # on a CPU, a seed draws the same everywhere
    return int(torch.multinomial(weights_V, 1, generator=draw))


def _most_likely(probabilities_V: Tensor) -> list[int]:
    ids: list[int] = probabilities_V.topk(min(_LIKELY, len(probabilities_V))).indices.tolist()
    return ids


def _choice(formatter: PromptFormatter, id_: int, probabilities_V: Tensor) -> TokenChoice:
    text = formatter.tokenizer.decode([id_], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return TokenChoice(text, float(probabilities_V[id_]))
