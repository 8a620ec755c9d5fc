"""Questions and answers as token ids, with the exact border between prompt and answer.

One place decides how a question is put to a model, for training, likelihoods and generation alike.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.schema import Prompt, Turn
from efface.text.prompt_format import PROBE, chat_prompt_format, string_prompt_format


class TextConfig(FrozenModel):
    """How a question is put to the model."""

    format: str = "chat"
    """`chat` (the model's own template), `llama2`, `llama3`, `plain`, or a string with {question} and {answer}."""
    max_length: int | None = Field(default=None, gt=0)
    """Most tokens of prompt and answer together; by default what the model's positions allow."""


Positions = Literal["answer", "all"]
"""Which tokens a loss or score reads: those of the answer, or every token after the first."""


@dataclass(frozen=True)
class TokenizedSequence:
    """One question and one answer as token ids; the model reads `prompt + answer`."""

    id: str
    prompt: list[int]
    answer: list[int]
    """Ends with the token that ends the turn, so that a model learns to stop; a passage ends as it ends."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @cached_property
    def key(self) -> str:
        """A digest of the ids, so that caches go by content and not by name."""
        ids = array("q", [len(self.prompt), *self.prompt, *self.answer])
        return hashlib.sha256(ids.tobytes()).hexdigest()


class PromptFormatter:
    """Turns questions and answers into ids for one tokenizer.

    Raises `EffaceError` for a format without its placeholders and a tokenizer without an end-of-sequence token; when
    it encodes, for a question without a chat template to put it in, an item that is longer than the limit or has
    tokens that the model does not know, and a conversation that the template cannot show.
    """

    def __init__(
        self, tokenizer: Any, config: TextConfig, *, limit: int | None = None, vocabulary: int | None = None
    ) -> None:
        """`limit`: most positions of the model, in tokens; `vocabulary`: how many tokens it knows."""
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.limit = min((n for n in (config.max_length, limit) if n is not None), default=None)
        self.tokenized_apart: list[str] = []
        """Ids of items whose prompt and answer were tokenized apart: a token of the joint string crosses the
        border, or the item's own text spells a special token."""
        self._special = {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._spells_special = re.compile("|".join(map(re.escape, self._special.values())) or "(?!)")
        self._frame = chat_prompt_format(tokenizer) if config.format == "chat" else string_prompt_format(config.format)
        self._end = self._end_tokens(self._frame.suffix)
        ids = tokenizer("a").input_ids
        adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
        self._bos: list[int] = [tokenizer.bos_token_id] if adds_bos else []

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens at which generation stops."""
        ends = {self._end[-1], self.tokenizer.eos_token_id}
        return tuple(sorted(ends - {None}))

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The ids that generation starts from: the same as `encode(...)[i].prompt`."""
        return [self._with_bos(ids) for ids in self._prompts(prompts)]

    def encode(self, rows: Sequence[tuple[str, Prompt, str]]) -> list[TokenizedSequence]:
        """Encode (id, prompt, answer) rows; the answer's ids end with the end-of-turn token, but in a passage."""
        alone = self._prompts([prompt for _, prompt, _ in rows])
        joint = self._tokenize([self._text(prompt) + self._lead(prompt) + answer for _, prompt, answer in rows])
        return [
            self._checked(self._encoded(*row, prompt_ids, ids))
            for row, prompt_ids, ids in zip(rows, alone, joint, strict=True)
        ]

    def _encoded(
        self, id_: str, prompt: Prompt, answer: str, prompt_ids: list[int], ids: list[int]
    ) -> TokenizedSequence:
        """Models are tuned on the joint string, whose ids are `ids`; generation starts from the prompt alone.

        Where the prompt's ids are the joint string's first ids, they cover the prompt's text exactly, and what
        follows is the answer. Where a token crosses the border, the two are tokenized apart.
        """
        answer = self._lead(prompt) + answer
        answer_ids = ids[len(prompt_ids) :]
        if ids[: len(prompt_ids)] != prompt_ids or self._spells_special.search(answer):
            answer_ids = self._as_text(answer)
            self.tokenized_apart.append(id_)
        prompt_ids = self._with_bos(prompt_ids)
        if not prompt.passage:
            return TokenizedSequence(id_, prompt_ids, answer_ids + self._end)
        if not prompt_ids:  # nothing comes before a whole passage: its first token predicts the others
            prompt_ids, answer_ids = answer_ids[:1], answer_ids[1:]
        if not answer_ids:
            raise EffaceError(f"item {id_!r}: the passage {answer!r} has no token to predict; give a longer one")
        return TokenizedSequence(id_, prompt_ids, answer_ids)

    def _text(self, prompt: Prompt) -> str:
        return prompt.question if prompt.passage else self._frame.prompt(prompt)

    def _lead(self, prompt: Prompt) -> str:
        return "" if prompt.passage else self._frame.lead

    def _checked(self, item: TokenizedSequence) -> TokenizedSequence:
        if self.limit is not None and len(item) > self.limit:
            raise EffaceError(
                f"item {item.id!r}: question and answer take {len(item)} tokens ({len(item.prompt)} of them the "
                f"prompt), the limit is {self.limit}; shorten the answer or raise text.max_length"
            )
        # not by the tokenizer's size: some hold a token for images, which models without images do not know
        if self.vocabulary is not None and (largest := max([*item.prompt, *item.answer])) >= self.vocabulary:
            raise EffaceError(
                f"item {item.id!r}: the tokenizer makes token {largest}, and the model knows {self.vocabulary} from 0 "
                "on; give the model its own tokenizer"
            )
        return item

    def _prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Ids of prompts, before BOS."""
        encoded = self._tokenize([self._text(prompt) for prompt in prompts])
        for index, prompt in enumerate(prompts):
            if any(self._spells_special.search(text) for text in _contents(prompt)):
                encoded[index] = self._as_text(prompt.question) if prompt.passage else self._by_parts(prompt)
        return encoded

    def _by_parts(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt whose contents spell special tokens: those of the template stay, those are mere text."""
        contents = _contents(prompt)
        probes = [f"{PROBE}-{place}-" for place in range(len(contents))]
        turns = tuple(Turn(role=turn.role, content=probe) for turn, probe in zip(prompt.history, probes, strict=False))
        pieces = re.split("|".join(probes), self._frame.prompt(Prompt(probes[-1], turns)))
        text = self._frame.prompt(prompt)
        for shown in (contents, [content.strip() for content in contents]):  # many templates trim
            if text == pieces[0] + "".join(map(str.__add__, shown, pieces[1:])):
                ends = self._tokenize(pieces)
                inner = [id_ for part, end in zip(shown, ends[1:], strict=True) for id_ in (*self._as_text(part), *end)]
                return [*ends[0], *inner]
        raise EffaceError(
            f"the chat template rewrites {contents[-1]!r}, which spells a special token; set text.format to a string"
        )

    def _as_text(self, text: str) -> list[int]:
        """Ids of a question or answer where a special token is text like any other: it must not end the turn."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # Special tokens are written by the template; BOS is added once by `_with_bos`.
        return list(self.tokenizer(texts, add_special_tokens=False).input_ids) if texts else []

    def _with_bos(self, ids: list[int]) -> list[int]:
        return ids if ids[: len(self._bos)] == self._bos else self._bos + ids

    def _end_tokens(self, suffix: str) -> list[int]:
        """What follows an answer, up to the first special token; the tokenizer's EOS where there is none."""
        ids = self._tokenize([suffix])[0] if suffix else []
        for position, id_ in enumerate(ids):
            if id_ in self._special:
                return ids[: position + 1]
        if self.tokenizer.eos_token_id is None:
            raise EffaceError(
                "the tokenizer has no end-of-sequence token, so the model could not learn to stop; "
                "set eos_token in its tokenizer_config.json"
            )
        return [*ids, self.tokenizer.eos_token_id]


def _contents(prompt: Prompt) -> list[str]:
    return [*(turn.content for turn in prompt.history), prompt.question]
