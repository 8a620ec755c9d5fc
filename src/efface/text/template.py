"""Questions and answers as token ids, with the exact border between prompt and answer.

One place decides how a question is put to a model, for training, likelihoods and generation alike.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from efface.errors import EffaceError, nearest

NAMED_FORMATS = {
    "llama2": "[INST] {question} [/INST]{answer}",
    "llama3": (
        "<|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}"
    ),
    "plain": "Question: {question}\nAnswer: {answer}",
}
"""The paper's Llama-2 and Llama-3 formats, and one for models that were never tuned to chat."""

# Some templates print today's date; a fixed one keeps a run the same on every day. The macro hides
# transformers' function of that name; `+` keeps a newline that the template starts with.
_FIXED_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro +%}"
_PROBE = "efface-probe"


class TextConfig(BaseModel):
    """How a question is put to the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = "chat"
    """`chat` (the model's own template), `llama2`, `llama3`, `plain`, or a string with {question} and {answer}."""
    max_length: int | None = Field(default=None, gt=0)
    """Most tokens of prompt and answer together; by default what the model's positions allow."""


Positions = Literal["answer", "all"]
"""Which tokens a loss or score reads: those of the answer, or every token after the first."""


@dataclass(frozen=True)
class Encoded:
    """One question and one answer as token ids; the model reads `prompt + answer`."""

    id: str
    prompt: list[int]
    answer: list[int]
    """Ends with the token that ends the turn, so that a model learns to stop."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @cached_property
    def key(self) -> str:
        """A digest of the ids, so that caches go by content and not by name."""
        ids = array("q", [len(self.prompt), *self.prompt, *self.answer])
        return hashlib.sha256(ids.tobytes()).hexdigest()


@dataclass(frozen=True)
class Frame:
    """What stands around a question and its answer."""

    prompt: Callable[[str], str]
    """From a question to the text that generation starts from."""
    lead: str
    """Between prompt and answer, tokenized with the answer: a space or nothing."""
    suffix: str
    """Behind the answer."""


class Formatter:
    """Turns questions and answers into ids for one tokenizer.

    Raises `EffaceError` for a format without its placeholders, a tokenizer without a chat template or an
    end-of-sequence token, and an item that is longer than the limit.
    """

    def __init__(self, tokenizer: Any, config: TextConfig, *, limit: int | None = None) -> None:
        """`limit`: most positions of the model, in tokens."""
        self.tokenizer = tokenizer
        self.limit = min((n for n in (config.max_length, limit) if n is not None), default=None)
        self.tokenized_apart: list[str] = []
        """Ids of items whose prompt and answer were tokenized apart: a token of the joint string crosses the
        border, or the item's own text spells a special token."""
        self._special = {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._spells_special = re.compile("|".join(map(re.escape, self._special.values())) or "(?!)")
        self._frame = _chat_frame(tokenizer) if config.format == "chat" else _string_frame(config.format)
        self._end = self._end_tokens(self._frame.suffix)
        ids = tokenizer("a").input_ids
        adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
        self._bos: list[int] = [tokenizer.bos_token_id] if adds_bos else []

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens at which generation stops."""
        ends = {self._end[-1], self.tokenizer.eos_token_id}
        return tuple(sorted(ends - {None}))

    def encode_prompts(self, questions: Sequence[str]) -> list[list[int]]:
        """The ids that generation starts from: the same as `encode(...)[i].prompt`."""
        if not questions:
            return []
        return [self._with_bos(ids) for ids in self._prompts(questions)]

    def encode(self, rows: Sequence[tuple[str, str, str]]) -> list[Encoded]:
        """Encode (id, question, answer) rows; the answer's ids end with the end-of-turn token."""
        if not rows:
            return []
        prompts = [self._frame.prompt(question) for _, question, _ in rows]
        answers = [self._frame.lead + answer for _, _, answer in rows]
        alone = self._prompts([question for _, question, _ in rows])
        joint = self._tokenize([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
        encoded = []
        for (id_, *_), answer, prompt_ids, ids in zip(rows, answers, alone, joint, strict=True):
            # Models are tuned on the joint string, generation starts from the prompt alone. Where the
            # prompt's ids are the joint string's first ids, they cover the prompt's text exactly, and
            # what follows is the answer. Where a token crosses the border, the two are tokenized apart.
            answer_ids = ids[len(prompt_ids) :]
            if ids[: len(prompt_ids)] != prompt_ids or self._spells_special.search(answer):
                answer_ids = self._as_text(answer)
                self.tokenized_apart.append(id_)
            encoded.append(self._checked(Encoded(id_, self._with_bos(prompt_ids), answer_ids + self._end)))
        return encoded

    def _checked(self, item: Encoded) -> Encoded:
        if self.limit is not None and len(item) > self.limit:
            raise EffaceError(
                f"item {item.id!r}: question and answer take {len(item)} tokens ({len(item.prompt)} of them the "
                f"prompt), the limit is {self.limit}; shorten the answer or raise text.max_length"
            )
        return item

    def _prompts(self, questions: Sequence[str]) -> list[list[int]]:
        """Ids of prompts, before BOS."""
        texts = [self._frame.prompt(question) for question in questions]
        prompts = self._tokenize(texts)
        for index, question in enumerate(questions):
            if self._spells_special.search(question):
                before, _, after = self._frame.prompt(_PROBE).partition(_PROBE)
                start, end = self._tokenize([before, after])
                inner = texts[index].removeprefix(before).removesuffix(after)
                prompts[index] = [*start, *self._as_text(inner), *end]
        return prompts

    def _as_text(self, text: str) -> list[int]:
        """Ids of a question or answer where a special token is text like any other: it must not end the turn."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # Special tokens are written by the template; BOS is added once by `_with_bos`.
        return list(self.tokenizer(texts, add_special_tokens=False).input_ids)

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


def _chat_frame(tokenizer: Any) -> Frame:
    if not tokenizer.chat_template:
        raise EffaceError(
            "the tokenizer has no chat template; set text.format to plain, llama2, llama3 or a string such as "
            "'Question: {question}\\nAnswer: {answer}'"
        )

    template = _FIXED_DATE + tokenizer.get_chat_template()

    def render(*turns: str, prompt: bool) -> str:
        messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), turns, strict=False)]
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=prompt,
            enable_thinking=False,  # answers are scored, not the thoughts before them
        )
        return str(text)

    # What a template writes before and behind an answer is the same for all answers: a probe shows it.
    before, found, suffix = render("question", _PROBE, prompt=False).rpartition(_PROBE)
    if not found:
        raise EffaceError("the tokenizer's chat template leaves the answer out; set text.format to a string instead")
    # Llama-2 and Mistral write a space before an answer that their generation prompt does not end with.
    space = before.removeprefix(render("question", prompt=True))
    return Frame(
        prompt=lambda question: render(question, prompt=True), lead=space if space.isspace() else "", suffix=suffix
    )


def _string_frame(format_: str) -> Frame:
    pattern = NAMED_FORMATS.get(format_, format_)
    head, _, suffix = pattern.partition("{answer}")
    if "{question}" not in head or "{answer}" not in pattern:
        raise EffaceError(
            f"text.format {format_!r} is neither a known format nor a string with {{question}} and then {{answer}}; "
            f"{nearest(format_, ['chat', *NAMED_FORMATS])}"
        )
    # Tokenizers fuse a space with the word behind it: it belongs to the answer, or generation would
    # start from a lone space that no prompt ended with in training.
    lead = " " if head.endswith(" ") else ""
    head = head.removesuffix(" ")
    return Frame(prompt=lambda question: head.replace("{question}", question), lead=lead, suffix=suffix)
