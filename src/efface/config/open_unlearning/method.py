"""From a trainer of open-unlearning with its arguments to a method and its settings."""

from __future__ import annotations

import re

from efface.config.open_unlearning.overrides import Tree
from efface.config.open_unlearning.settings import Settings, mapping, text
from efface.errors import EffaceError, suggest

_FORGET = {
    **{"GradAscent": "ga", "GradDiff": "ga", "NPO": "npo", "DPO": "dpo", "SimNPO": "simnpo", "RMU": "rmu"},
    **{"UNDIAL": "undial", "CEU": "ceu", "WGA": "wga", "SatImp": "satimp", "PDU": "pdu"},
}
"""Its trainer -> forget objective."""
_RETAIN = {"NLL": "gd", "KL": "kl", "EMBED_DIFF": "embed"}
_WITHOUT_RETAIN = {"GradAscent", "CEU"}
_METHOD_ARGS = {
    "SimNPO": {"beta": "simnpo.beta", "delta": "simnpo.delta"},
    "WGA": {"beta": "wga.beta"},
    "SatImp": {"beta1": "satimp.beta1", "beta2": "satimp.beta2"},
    "UNDIAL": {"beta": "undial.beta"},
    "CEU": {"ignore_first_n_answer_tokens": "ceu.ignore_first_n_answer_tokens"},
    "NPO": {"beta": "beta"},
    "DPO": {"beta": "beta"},
    "RMU": {"steering_coeff": "rmu.steering_coeff"},
}
"""Trainer -> its method_args -> setting."""


def convert_method(trainer: Tree, forget_set: Tree, found: Settings) -> None:
    """Add the method and its settings.

    Args:
        trainer: The block `trainer`.
        forget_set: The data set to forget.
        found: Gets settings and notes.

    Raises:
        EffaceError: The trainer is unknown, or does not unlearn.
    """
    handler = text(trainer, "handler", "", where="trainer")
    if handler == "FinetuneTrainer":
        raise EffaceError(
            "trainer=finetune trains a target model; use efface finetune tofu-forget10 recipe=open-unlearning model=..."
        )
    if handler not in _FORGET:
        raise EffaceError(f"trainer.handler={handler!r} is no trainer that is known; {suggest(handler, _FORGET)}")
    arguments, forget = mapping(trainer, "method_args"), _FORGET[handler]
    if handler == "DPO" and forget_set.get("handler") == "QAwithAlternateDataset":
        forget = "altpo"
    loss_type = text(arguments, "retain_loss_type", "NLL", where="trainer.method_args")
    if loss_type not in _RETAIN:
        raise EffaceError(f"trainer.method_args.retain_loss_type={loss_type!r}; {suggest(loss_type, _RETAIN)}")
    without = handler in _WITHOUT_RETAIN or arguments.get("alpha", 1.0) == 0
    retain = None if without else _RETAIN[loss_type]
    found.values["method"] = forget if retain is None else f"{forget}+{retain}"
    found.values["forget_coeff"] = arguments.get("gamma", 1.0)
    if retain is not None:
        found.values["retain_coeff"] = arguments.get("alpha", 1.0)
    for theirs, ours in _METHOD_ARGS.get(handler, {}).items():
        if theirs in arguments:
            found.values[ours] = arguments[theirs]
    _quirks(handler, retain, found)
    if handler == "RMU":
        _rmu(arguments, retain, found)
    if handler == "PDU":
        _pdu(arguments, found)


def _quirks(handler: str, retain: str | None, found: Settings) -> None:
    """Settings that count as its code does, and notes where none does."""
    if retain == "kl":
        found.values["kl.positions"] = "all"
        found.notes.append(
            "retain_loss_type=KL: it divides by all positions of the padded batch; kl.positions=all is the mean over "
            "those that are not padding"
        )
    if handler == "UNDIAL":
        found.notes.append(
            "trainer=UNDIAL: it averages over prompts and padding, too, where it lowers another token; undial counts "
            "the tokens of answers alone"
        )


def _rmu(arguments: Tree, retain: str | None, found: Settings) -> None:
    layer = re.search(r"layers\\?\.(\d+)$", str(arguments.get("module_regex", "")))
    if layer is None:
        found.notes.append(
            f"trainer.method_args.module_regex={arguments.get('module_regex')!r} names no layer; set rmu.layer"
        )
    else:
        found.values["rmu.layer"] = int(layer[1])
    found.values["rmu.average"] = "broadcast"
    if retain == "embed":
        found.values["embed.average"] = "broadcast"
    patterns = arguments.get("trainable_params_regex") or [".*"]
    if not isinstance(patterns, list):
        raise EffaceError(f"trainer.method_args.trainable_params_regex={patterns!r} is no list of patterns; correct it")
    if patterns != [".*"]:
        found.values["train.parameters"] = "|".join(f"(?:{each})" for each in patterns) if patterns[1:] else patterns[0]


def _pdu(arguments: Tree, found: Settings) -> None:
    found.values["pdu.positions"] = "predicted"
    if not arguments.get("primal_dual", True):
        return
    bound = arguments.get("retain_loss_eps")
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise EffaceError("trainer.method_args.retain_loss_eps is missing; give the retain loss that PDU keeps")
    found.values["train.retain_bound"] = bound
    found.values["train.retain_bound_rate"] = arguments.get("dual_step_size", 1.0)
    first = arguments.get("dual_warmup_epochs", 5)
    found.notes.append(
        f"trainer=PDU: its coefficient changes with each micro-batch, from epoch {first} on; train.retain_bound with "
        "each step, from the first on"
    )
