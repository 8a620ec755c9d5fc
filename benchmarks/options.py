"""Options of the measured step, the same for all scripts that measure one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import torch

from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.train.config import Kernels, TrainConfig
from efface.train.kernels import check_kernels
from measure import Setting
from shapes import SHAPES
from workload import Workload, load_workload


def add_step_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that determine a step's numbers."""
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--method", required=True, help="such as me+gd, idk+ap or llmu")
    parser.add_argument("--items", type=positive, default=32, help="forget items of the step (default 32)")
    parser.add_argument(
        "--repeats", type=positive, default=5, help="timed steps, of which the median is reported (default 5)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--dtype", choices=("float64", "float32", "bfloat16"), help="default: bfloat16 on cuda, float32 on cpu"
    )
    parser.add_argument("--optimizer", choices=("adamw", "none"), help="default: none for 7b, else adamw")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations, for both contenders")
    parser.add_argument(
        "--max-tokens-per-forward", type=positive, help="maximum tokens in one packed forward pass (default: all)"
    )
    parser.add_argument(
        "--kernels", choices=get_args(Kernels), default="torch", help="train.kernels of the packed step (default torch)"
    )
    parser.add_argument("--tokenizer", type=Path, help="local folder (default: a BPE trained on the text)")


def positive(text: str) -> int:
    """A positive integer, for argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def step_setting(options: argparse.Namespace) -> Setting:
    """The setting of the options of `add_step_options`.

    Raises:
        EffaceError: The method is unknown, or there is no GPU or nothing for these kernels.
    """
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise EffaceError("--device cuda: torch sees no CUDA device on this machine; use --device cpu")
    check_kernels(TrainConfig(kernels=options.kernels), torch.device(device))
    optimizer = options.optimizer or ("none" if options.shape == "7b" else "adamw")
    if options.kernels != "torch" and optimizer == "none":
        raise EffaceError(f"--kernels {options.kernels} is for steps of training; use --optimizer adamw")
    return Setting(
        shape=SHAPES[options.shape],
        method=objective(options.method, ObjectiveConfig()).name,
        device=device,
        dtype=options.dtype or ("bfloat16" if device == "cuda" else "float32"),
        optimizer=optimizer,
        checkpointing=options.checkpointing,
        max_tokens_per_forward=options.max_tokens_per_forward,
        repeats=options.repeats,
        kernels=options.kernels,
    )


def step_workload(options: argparse.Namespace) -> Workload:
    """The text of the step.

    Raises:
        EffaceError: The tokenizer has ids outside the shape's vocabulary.
    """
    views = objective(options.method, ObjectiveConfig()).views
    workload = load_workload(views, items=options.items, tokenizer=options.tokenizer)
    vocabulary = SHAPES[options.shape].vocab_size
    if workload.largest_id >= vocabulary:
        raise EffaceError(
            f"--tokenizer {options.tokenizer}: token id {workload.largest_id} is outside the vocabulary of shape "
            f"{options.shape}, {vocabulary}; use a smaller tokenizer or another shape"
        )
    return workload
