"""The sources of data, and which settings apply to each. No torch."""

from __future__ import annotations

from typing import Literal

Source = Literal["tofu", "muse", "wmdp", "real-world", "synthetic-authors", "files"]

SETTINGS: dict[Source, frozenset[str]] = {
    "tofu": frozenset(
        {"split", "task", "forgotten_before", "retain_items", "forget_evaluation", "retain_evaluation", "holdout"}
    ),
    "muse": frozenset({"corpus", "forget_corpus", "task", "forgotten_before", "chunk_tokens", "passage_length"}),
    "wmdp": frozenset(
        {"corpus", "retain_corpus", "documents", "chunk_tokens", "passage_length", "retain_evaluation", "holdout"}
    ),
    "real-world": frozenset({"holdout"}),
    "synthetic-authors": frozenset(
        {"authors", "forget_authors", "author_seed", "task", "forgotten_before", "retain_evaluation", "holdout"}
    ),
    "files": frozenset(
        {
            "forget",
            "retain",
            "retain_minus_forget",
            "forgotten_before",
            "passage_length",
            "generic_questions",
            "known_facts",
            "retain_evaluation",
            "few_shot",
            "holdout",
        }
    ),
}
"""The settings that apply to a source, except those of `COMMON_SETTINGS`."""
COMMON_SETTINGS = frozenset({"source", "extra_retain", "extra_retain_items", "refusals"})
"""The settings that apply to every source."""
