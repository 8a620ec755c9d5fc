"""Questions and answers as token ids, with the exact boundary between prompt and answer.

Training, likelihoods and generation all format their prompts here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from efface.errors import EffaceError
from efface.schema import Prompt, Turn
from efface.text.boundary import find_border
from efface.text.config import TextConfig
from efface.text.prompt_format import PROBE, chat_prompt_format, string_prompt_format
from efface.text.sequence import TokenizedSequence
from efface.text.text_encoder import TextEncoder


class PromptFormatter:
    """Converts questions and answers to token ids for one tokenizer.

    Args:
        tokenizer: of transformers.
        config: the settings under `text`.
        limit: the number of positions of the model, in tokens.
        vocabulary: the number of tokens that the model knows.
        generation_stops: ids of tokens at which the model's settings stop generation.

    Raises:
        EffaceError: the format is missing a placeholder, or the tokenizer has no end-of-sequence token.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: TextConfig,
        *,
        limit: int | None = None,
        vocabulary: int | None = None,
        generation_stops: Sequence[int] = (),
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.vocabulary = vocabulary
        self.limit = min((n for n in (config.max_length, limit) if n is not None), default=None)
        self._encoder = TextEncoder(tokenizer)
        chat = config.format == "chat"
        self._format = chat_prompt_format(tokenizer, config.date) if chat else string_prompt_format(config.format)
        self._separate_at_special_tokens()
        self._end = self._end_tokens(self._format.answer_suffix)
        self._generation_stops = generation_stops
        ids = tokenizer("a").input_ids
        adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
        self._bos: list[int] = [tokenizer.bos_token_id] if adds_bos else []

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids of the tokens at which generation stops, in ascending order."""
        ends = {self._end[-1], self.tokenizer.eos_token_id, *self._generation_stops}
        return tuple(sorted(ends - {None}))

    @property
    def recorded_settings(self) -> dict[str, Any]:
        """The settings as a manifest has them."""
        return self.config.recorded(shows_date=self._format.shows_date)

    @property
    def end_token(self) -> int:
        """Id of the token that ends an answer."""
        return self._end[-1]

    @property
    def end_length(self) -> int:
        """The number of tokens after the text of an answer, up to the one that ends it."""
        return len(self._end)

    @property
    def pad_token(self) -> int:
        """Id of the token that fills a padded row: the end-of-sequence token, as in the published code."""
        eos: int | None = self.tokenizer.eos_token_id
        return self.end_token if eos is None else eos

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Encode prompts for generation.

        Returns:
            The token ids of each prompt, BOS included: the same as `encode(...)[i].prompt` where that is not `merged`.

        Raises:
            EffaceError: the tokenizer has no chat template for a question, or the template rejects the conversation.
        """
        return [self._with_bos(ids) for ids in self._ids_of([self._pieces(prompt) for prompt in prompts])]

    def encode_started(self, prompts: Sequence[Prompt], starts: Sequence[str]) -> list[list[int]]:
        """Encode prompts with the first words of an answer, for generation that goes on from these.

        Args:
            prompts: As for `encode_prompts`.
            starts: The first words of each answer; may be empty.

        Returns:
            The token ids of each prompt and start, as one text.

        Raises:
            EffaceError: As `encode_prompts`.
        """
        pairs = zip(prompts, starts, strict=True)
        joint = [
            [*self._pieces(prompt), self._answer_prefix(prompt) + start if start else ""] for prompt, start in pairs
        ]
        return [self._with_bos(ids) for ids in self._ids_of(joint)]

    def token_starts(self, text: str) -> list[int]:
        """The character at which each token of a text starts; several tokens of one character have the same."""
        return self._encoder.token_starts(text)

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
        pieces = {prompt: self._pieces(prompt) for _, prompt, _ in items}
        prompt_ids = dict(zip(pieces, self._ids_of(list(pieces.values())), strict=True))
        joint_ids = self._ids_of(
            [[*pieces[prompt], self._answer_prefix(prompt) + answer] for _, prompt, answer in items]
        )
        return [
            self._checked(self._split(*item, prompt_ids[item[1]], joint))
            for item, joint in zip(items, joint_ids, strict=True)
        ]

    def _split(
        self, id_: str, prompt: Prompt, answer: str, prompt_ids: list[int], joint_ids: list[int]
    ) -> TokenizedSequence:
        """Divide `joint_ids`, the ids of the joint text, into prompt and answer.

        Models are trained on the joint text, and generation starts from the prompt alone. If the joint ids start with
        the prompt's ids, these cover exactly the prompt's text. Otherwise a token crosses the boundary, and
        `text.boundary` decides.
        """
        answer = self._answer_prefix(prompt) + answer
        border = find_border(prompt_ids, joint_ids, self.tokenizer.convert_ids_to_tokens)
        merged = joint_ids[: len(prompt_ids)] != prompt_ids
        if merged and self.config.boundary == "separate":
            first, second = prompt_ids, self._encoder.continuation(answer)
        else:
            # a model needs a token before the first one that it predicts
            counted = self.config.boundary == "joint-counted" and (border.start > 0 or self._bos)
            cut = border.start if counted else border.end
            first, second = joint_ids[:cut], joint_ids[cut:]
        first = self._with_bos(first)
        if not prompt.passage:
            return TokenizedSequence(id_, first, second + self._end, merged)
        if not first:  # nothing comes before a complete passage: its first token predicts the others
            first, second = second[:1], second[1:]
        if not second:
            raise EffaceError(f"item {id_!r}: the passage {answer!r} has no token to predict; give a longer one")
        return TokenizedSequence(id_, first, second, merged)

    def _answer_prefix(self, prompt: Prompt) -> str:
        return "" if prompt.passage else self._format.answer_prefix

    def _checked(self, item: TokenizedSequence) -> TokenizedSequence:
        if self.limit is not None and len(item) > self.limit:
            raise EffaceError(
                f"item {item.id!r}: question and answer take {len(item)} tokens ({item.prompt_length} of them the "
                f"prompt), the limit is {self.limit}; shorten the answer or raise text.max_length"
            )
        # not the size of the tokenizer: some contain an image token that models without images do not know
        if self.vocabulary is not None and (largest := max(item.ids)) >= self.vocabulary:
            raise EffaceError(
                f"item {item.id!r}: the tokenizer produces token {largest}, but the model only knows tokens 0 to "
                f"{self.vocabulary - 1}; use the tokenizer of the model"
            )
        return item

    def _ids_of(self, texts: Sequence[list[str]]) -> list[list[int]]:
        """Ids of texts in pieces, without BOS unless the template writes it.

        Pieces at even positions are a template's, the others those of users: special tokens in them are text.
        """
        encoded = self._encoder.template_text(["".join(pieces) for pieces in texts])
        for index, pieces in enumerate(texts):
            if any(map(self._encoder.has_special, pieces[1::2])):
                encoded[index] = self._encoder.mixed(pieces)
        return encoded

    def _pieces(self, prompt: Prompt) -> list[str]:
        """The text of a prompt in an odd number of pieces, as `_ids_of` takes them.

        A prompt without special tokens in the texts of users is one piece.
        """
        if prompt.passage:
            return ["", prompt.question, ""]
        prompt = self._with_system(prompt)
        text = self._format.render(prompt)
        contents = [*(turn.content for turn in prompt.history), prompt.question]
        if not any(map(self._encoder.has_special, contents)):
            return [text]
        probes = [f"{PROBE}-{number}-" for number in range(len(contents))]
        turns = tuple(Turn(role=turn.role, content=probe) for turn, probe in zip(prompt.history, probes, strict=False))
        between = re.split("|".join(probes), self._format.render(Prompt(probes[-1], turns)))
        for shown in (contents, [content.strip() for content in contents]):  # many templates strip the contents
            pieces = list(chain.from_iterable(zip_longest(between, shown, fillvalue="")))[: 2 * len(shown) + 1]
            if text == "".join(pieces):
                return pieces
        raise EffaceError(
            f"the chat template rewrites {contents[-1]!r}, which contains a special token; set text.format to a string"
        )

    def _with_system(self, prompt: Prompt) -> Prompt:
        """A conversation with the system turn that is set, unless it has one."""
        system = self.config.system
        if system is None or any(turn.role == "system" for turn in prompt.history[:1]):
            return prompt
        return Prompt(prompt.question, (Turn(role="system", content=system), *prompt.history))

    def _with_bos(self, ids: list[int]) -> list[int]:
        return ids if ids[: len(self._bos)] == self._bos else self._bos + ids

    def _separate_at_special_tokens(self) -> None:
        """Let the encoder know the special tokens that the format writes."""
        with suppress(EffaceError):  # without a chat template only passages are tokenized
            self._encoder.separate_at([self._format.render(Prompt(PROBE)), self._format.answer_suffix])

    def _end_tokens(self, suffix: str) -> list[int]:
        """The ids of `suffix` up to its first special token; if it has none, followed by EOS."""
        text, special = self._encoder.before_special(suffix)
        ids = self._encoder.continuation(text) if text else []
        if special is not None:
            return [*ids, special]
        if self.tokenizer.eos_token_id is None:
            raise EffaceError(
                "the tokenizer has no end-of-sequence token, so the model could not learn to stop; "
                "set eos_token in its tokenizer_config.json"
            )
        return [*ids, self.tokenizer.eos_token_id]
