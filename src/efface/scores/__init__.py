"""Compute the six metrics and their aggregates from records or eval logs. No torch, no model."""

from __future__ import annotations

from efface.scores.definitions import DEFINITIONS, Definition, definition
from efface.scores.score import score_path, score_records

__all__ = ["DEFINITIONS", "Definition", "definition", "score_path", "score_records"]
