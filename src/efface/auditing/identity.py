"""What the rows of an audit depend on, as one digest: rows of another one are not used again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

import efface
from efface.auditing.attack import Context, ModelName
from efface.auditing.models import AuditModels


def audit_key(context: Context, models: AuditModels, *, judge: str) -> dict[ModelName, str]:
    """A key for the rows of each model; attacks may read the models that come before it in the order of the passes.

    Args:
        context: Of the audit.
        models: All that are available.
        judge: What decides about hits.
    """
    shared = {
        "efface": efface.__version__,
        "attacks": _code_digest(),
        "torch": torch.__version__,
        "device": next(iter(models.sources.values())).device.type,
        "level": context.level,
        "seed": context.seed,
        "max_new_tokens": context.max_new_tokens,
        "facts": [fact.item.model_dump() for fact in context.facts],
        "retain": [item.id for item in context.retain],
        "holdout": [item.model_dump() for item in context.holdout],
        "judge": judge,
        "text": context.config.text.model_dump(mode="json"),
        "train": context.config.train.model_dump(mode="json"),
        "precision": context.config.evaluate.precision,
    }
    sums = [source.sha256 for source in models.sources.values()]
    return {name: _digest({**shared, "models": sums[: number + 1]}) for number, name in enumerate(models.sources)}


def _code_digest() -> str:
    """Of this package's sources: what a changed attack makes is not mixed with what it made before."""
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
