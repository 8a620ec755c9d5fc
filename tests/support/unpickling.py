"""Pickles that run code, in every place where a loader might look; and a watch for whatever would unpickle one."""

from __future__ import annotations

import gc
import pickle
import sys
from pathlib import Path
from typing import Any

IN_MODELS = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json.pkl",
    "adapter_model.bin",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "vocab.pkl",
    "tokenizer.pkl",
    "model.pt",
    "model.pkl",
)
IN_CHECKPOINTS = (
    "custom_checkpoint_0.pkl",
    "custom_checkpoint_1.pkl",
    "random_states_0.pkl",
    "optimizer.bin",
    "scheduler.bin",
    "optimizer.pkl",
    "pytorch_model.bin",
)


class Malicious:
    """Makes a file where it is unpickled without care."""

    def __init__(self, owned: Path) -> None:
        self.owned = owned

    def __reduce__(self) -> Any:
        return Path.touch, (self.owned,)


def plant(folder: Path, names: tuple[str, ...], owned: Path) -> None:
    """Write a pickle that makes the file `owned` under each of the names, in the folder and below it."""
    for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        for name in names:
            (each / name).write_bytes(pickle.dumps(Malicious(owned)))


def efface(arguments: list[str], log: str) -> None:
    """Run the command. Each class or function that an unpickler looks up, as it must to run code, goes to `log`."""

    def watch(event: str, details: tuple[object, ...]) -> None:
        if event == "pickle.find_class":
            with Path(log).open("a") as file:
                file.write(f"{details}\n")

    from efface.cli import main

    gc.freeze()
    sys.argv = ["efface", *arguments]
    sys.addaudithook(watch)
    main()
