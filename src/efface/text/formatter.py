"""Questions and answers as token ids, with the exact boundary between prompt and answer.

Training, likelihoods and generation all format their prompts here.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Literal

from pydantic import Field

from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.schema import Prompt, Turn
from efface.text.prompt_format import PROBE, chat_prompt_format, string_prompt_format


class TextConfig(FrozenModel):
    """How questions are formatted for the model."""

    format: str = "chat"
    """`chat` (the model's chat template), `llama2`, `llama3`, `plain`, or a string with {question} and {answer}."""
    max_length: int | None = Field(default=None, gt=0)
    """The most tokens of prompt and answer together; by default the number of positions of the model."""


Positions = Literal["answer", "all"]
"""The tokens that a loss or score covers: those of the answer, or every token after the first."""


@dataclass(frozen=True)
class TokenizedSequence:
    """One question and one answer as token ids; the input of the model is `prompt + answer`."""

    id: str
    prompt: list[int]
    answer: list[int]
    """Ends with the end-of-turn token, so that a model learns to stop, except in a passage of running text."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @cached_property
    def key(self) -> str:
        """A hash of the token ids: caches look sequences up by content, not by id."""
        ids = array("q", [len(self.prompt), *self.prompt, *self.answer])
        return hashlib.sha256(ids.tobytes()).hexdigest()


class PromptFormatter:
    """Converts questions and answers to token ids for one tokenizer.

    Args:
        tokenizer: of transformers.
        config: the settings under `text`.
        limit: the number of positions of the model, in tokens.
        vocabulary: the number of tokens that the model knows.

    Raises:
        EffaceError: the format is missing a placeholder, or the tokenizer has no end-of-sequence token.
    """

    def __init__(
        self, tokenizer: Any, config: TextConfig, *, limit: int | None = None, vocabulary: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.limit = min((n for n in (config.max_length, limit) if n is not None), default=None)
        self.tokenized_separately: list[str] = []
        """Ids of items whose prompt and answer were tokenized separately, because a token of the joint text crosses
        the boundary, or because the text of the answer contains a special token."""
        self._special = {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._contains_special = re.compile("|".join(map(re.escape, self._special.values())) or "(?!)")
        chat = config.format == "chat"
        self._format = chat_prompt_format(tokenizer) if chat else string_prompt_format(config.format)
        self._end = self._end_tokens(self._format.answer_suffix)
        ids = tokenizer("a").input_ids
        adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
        self._bos: list[int] = [tokenizer.bos_token_id] if adds_bos else []

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids of the tokens at which generation stops, in ascending order."""
        ends = {self._end[-1], self.tokenizer.eos_token_id}
        return tuple(sorted(ends - {None}))

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Encode prompts for generation.

        Returns:
            The token ids of each prompt, BOS included: the same as `encode(...)[i].prompt`.

        Raises:
            EffaceError: the tokenizer has no chat template for a question, or the template rejects the conversation.
        """
        return [self._with_bos(ids) for ids in self._prompt_ids(prompts)]

    def encode(self, items: Sequence[tuple[str, Prompt, str]]) -> list[TokenizedSequence]:
        """Encode prompts with their answers.

        Args:
            items: (id, prompt, answer) each.

        Returns:
            A sequence for each item. Its answer ends with the end-of-turn token, except in a passage.

        Raises:
            EffaceError: as `encode_prompts`; or an item is too long for `limit` or contains a token that is not in
                the `vocabulary`.
        """
        prompt_ids = self._prompt_ids([prompt for _, prompt, _ in items])
        joint_ids = self._tokenize(
            [self._prompt_text(prompt) + self._answer_prefix(prompt) + answer for _, prompt, answer in items]
        )
        return [
            self._checked(self._split(*item, ids, joint))
            for item, ids, joint in zip(items, prompt_ids, joint_ids, strict=True)
        ]

    def _split(
        self, id_: str, prompt: Prompt, answer: str, prompt_ids: list[int], joint_ids: list[int]
    ) -> TokenizedSequence:
        """Find the boundary between prompt and answer in `joint_ids`, the ids of the joint text.

        Models are trained on the joint text, and generation starts from the prompt alone. If the joint ids start with
        the prompt's ids, these cover exactly the prompt's text, and the rest is the answer. Otherwise a token crosses
        the boundary, and the answer is tokenized separately.
        """
        answer = self._answer_prefix(prompt) + answer
        answer_ids = joint_ids[len(prompt_ids) :]
        if joint_ids[: len(prompt_ids)] != prompt_ids or self._contains_special.search(answer):
            answer_ids = self._tokenize_as_text(answer)
            self.tokenized_separately.append(id_)
        prompt_ids = self._with_bos(prompt_ids)
        if not prompt.passage:
            return TokenizedSequence(id_, prompt_ids, answer_ids + self._end)
        if not prompt_ids:  # nothing comes before a complete passage: its first token predicts the others
            prompt_ids, answer_ids = answer_ids[:1], answer_ids[1:]
        if not answer_ids:
            raise EffaceError(f"item {id_!r}: the passage {answer!r} has no token to predict; give a longer one")
        return TokenizedSequence(id_, prompt_ids, answer_ids)

    def _prompt_text(self, prompt: Prompt) -> str:
        return prompt.question if prompt.passage else self._format.render(prompt)

    def _answer_prefix(self, prompt: Prompt) -> str:
        return "" if prompt.passage else self._format.answer_prefix

    def _checked(self, item: TokenizedSequence) -> TokenizedSequence:
        if self.limit is not None and len(item) > self.limit:
            raise EffaceError(
                f"item {item.id!r}: question and answer take {len(item)} tokens ({len(item.prompt)} of them the "
                f"prompt), the limit is {self.limit}; shorten the answer or raise text.max_length"
            )
        # not the size of the tokenizer: some contain an image token that models without images do not know
        if self.vocabulary is not None and (largest := max([*item.prompt, *item.answer])) >= self.vocabulary:
            raise EffaceError(
                f"item {item.id!r}: the tokenizer produces token {largest}, but the model only knows tokens 0 to "
                f"{self.vocabulary - 1}; use the tokenizer of the model"
            )
        return item

    def _prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Ids of prompts, without BOS unless the template writes it."""
        encoded = self._tokenize([self._prompt_text(prompt) for prompt in prompts])
        for index, prompt in enumerate(prompts):
            if any(self._contains_special.search(text) for text in _contents(prompt)):
                passage = prompt.passage
                encoded[index] = self._tokenize_as_text(prompt.question) if passage else self._tokenize_parts(prompt)
        return encoded

    def _tokenize_parts(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt whose contents include special tokens: these are text, those of the template are special."""
        contents = _contents(prompt)
        probes = [f"{PROBE}-{number}-" for number in range(len(contents))]
        turns = tuple(Turn(role=turn.role, content=probe) for turn, probe in zip(prompt.history, probes, strict=False))
        pieces = re.split("|".join(probes), self._format.render(Prompt(probes[-1], turns)))
        text = self._format.render(prompt)
        for shown in (contents, [content.strip() for content in contents]):  # many templates strip the contents
            if text == pieces[0] + "".join(map(str.__add__, shown, pieces[1:])):
                first, *after = self._tokenize(pieces)
                parts = [[*self._tokenize_as_text(part), *piece] for part, piece in zip(shown, after, strict=True)]
                return [*first, *chain.from_iterable(parts)]
        raise EffaceError(
            f"the chat template rewrites {contents[-1]!r}, which contains a special token; set text.format to a string"
        )

    def _tokenize_as_text(self, text: str) -> list[int]:
        """Ids of a question or answer in which a special token is ordinary text: it must not end the turn."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # The template writes special tokens; `_with_bos` adds BOS once.
        return list(self.tokenizer(texts, add_special_tokens=False).input_ids) if texts else []

    def _with_bos(self, ids: list[int]) -> list[int]:
        return ids if ids[: len(self._bos)] == self._bos else self._bos + ids

    def _end_tokens(self, suffix: str) -> list[int]:
        """The ids of `suffix` up to its first special token; if it has none, followed by EOS."""
        ids = self._tokenize([suffix])[0] if suffix else []
        for index, id_ in enumerate(ids):
            if id_ in self._special:
                return ids[: index + 1]
        if self.tokenizer.eos_token_id is None:
            raise EffaceError(
                "the tokenizer has no end-of-sequence token, so the model could not learn to stop; "
                "set eos_token in its tokenizer_config.json"
            )
        return [*ids, self.tokenizer.eos_token_id]


def _contents(prompt: Prompt) -> list[str]:
    return [*(turn.content for turn in prompt.history), prompt.question]
