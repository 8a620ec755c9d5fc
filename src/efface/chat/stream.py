"""One answer, token by token, with the most likely alternatives of each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from efface.errors import EffaceError
from efface.evaluation.decoding.greedy_decoder import can_decode
from efface.packing.forward import device_of, unwrap_peft
from efface.text.formatter import PromptFormatter

_TOP_TOKENS = 10
"""How many of the most likely tokens each step reports."""
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What tokenizers decode a part of a character to."""


@dataclass(frozen=True)
class TokenChoice:
    """A possible next token."""

    token: str
    """Decoded alone; special tokens by name."""
    probability: float


@dataclass(frozen=True)
class TokenStep:
    """One more token of an answer."""

    text: str
    """What this token adds to the answer; empty while a character is incomplete."""
    chosen: TokenChoice
    likely: tuple[TokenChoice, ...]
    """The most likely tokens, in descending order."""
    entropy: float
    """Of the whole distribution over the vocabulary, in nats."""
    answer: str | None
    """The complete answer without special tokens; None except in the last step."""


def stream_answer(
    model: Any,
    formatter: PromptFormatter,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[TokenStep]:
    """Generate an answer.

    Greedy decoding yields the text that `efface.evaluation.generate` yields.

    Args:
        model: In evaluation mode.
        formatter: Decodes tokens; a step that chooses one of its `stop_ids` is the last.
        prompt: Token ids.
        max_new_tokens: Maximum number of steps.
        temperature: 0 for greedy decoding, else that of sampling.
        seed: Of sampling.

    Yields:
        At least one step. Probabilities and entropies are those of the model at temperature 1.

    Raises:
        EffaceError: The model's logits are not finite.
    """
    reader, generator = _IncrementalReader(model, prompt), torch.Generator().manual_seed(seed)
    generated: list[int] = []
    shown = ""
    for remaining in reversed(range(max_new_tokens)):
        logits_V = reader.next_logits()
        probabilities_V = _probabilities(logits_V)
        id_ = _choose(logits_V, temperature, generator)
        last = id_ in formatter.stop_ids or not remaining
        if id_ not in formatter.stop_ids:
            generated.append(id_)
        reader.ids.append(id_)
        text = formatter.tokenizer.decode(generated, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        complete = text if last else text.rstrip(_INCOMPLETE)
        added = complete.removeprefix(shown) if complete.startswith(shown) else ""
        shown += added
        yield TokenStep(
            text=added,
            chosen=_choice(formatter, id_, probabilities_V),
            likely=tuple(_choice(formatter, each, probabilities_V) for each in _most_likely(probabilities_V)),
            entropy=float(torch.special.entr(probabilities_V).sum()),
            answer=text if last else None,
        )
        if last:
            return


class _IncrementalReader:
    """A model that reads `ids`; with a KV cache, each id once."""

    def __init__(self, model: Any, ids: Sequence[int]) -> None:
        from transformers import DynamicCache

        self.ids, self._model, self._cached = list(ids), unwrap_peft(model), 0
        supports_cache = can_decode(self._model)
        self._cache = DynamicCache(config=self._model.config.get_text_config(decoder=True)) if supports_cache else None

    @torch.no_grad()
    def next_logits(self) -> Tensor:
        """Logits [V] of the token after all of `ids`, in float32."""
        device = device_of(self._model)
        if self._cache is None:  # time grows with the length, but correct for any architecture
            output = self._model(input_ids=torch.tensor([self.ids], device=device), use_cache=False)
        else:
            output = self._model(
                input_ids=torch.tensor([self.ids[self._cached :]], device=device),
                attention_mask=torch.ones(1, len(self.ids), dtype=torch.long, device=device),
                position_ids=torch.arange(self._cached, len(self.ids), device=device)[None],
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            self._cached = len(self.ids)
        logits_V: Tensor = output.logits[0, -1].float()
        return logits_V


def _probabilities(logits_V: Tensor) -> Tensor:
    probabilities_V = logits_V.softmax(-1)
    if not bool(probabilities_V.isfinite().all()):
        raise EffaceError(
            "the logits of the model are not finite, as after training that diverged; repeat it with a lower train.lr"
        )
    return probabilities_V


def _choose(logits_V: Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits_V.argmax())
    sampling_V = (logits_V / temperature).softmax(-1).cpu()  # on the CPU, a seed gives the same samples everywhere
    return int(torch.multinomial(sampling_V, 1, generator=generator))


def _most_likely(probabilities_V: Tensor) -> list[int]:
    ids: list[int] = probabilities_V.topk(min(_TOP_TOKENS, len(probabilities_V))).indices.tolist()
    return ids


def _choice(formatter: PromptFormatter, id_: int, probabilities_V: Tensor) -> TokenChoice:
    text = formatter.tokenizer.decode([id_], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return TokenChoice(text, float(probabilities_V[id_]))
