"""constraints.txt -> requirements/*.txt: the same versions, with the SHA-256 of every file that pip may download.

python scripts/hash_pins.py UV    # UV: the command `uv`, which asks the package index for the hashes

- `runtime.txt`: efface and its extras for users
- `build.txt`: what builds packages that come as source, and efface itself
- `development.txt`: what tests and documentation need besides
- `cuda.txt`: what the CUDA build of torch needs besides, on Linux
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
FOLDER = ROOT / "requirements"
TORCH_CPU = FOLDER / "torch-cpu.sha256"
USER_EXTRAS = ("data", "downstream", "lora", "lowmem", "quantized", "record", "tune")
BUILD_TOOLS = ("editables", "hatchling", "setuptools", "wheel")
OLDEST_PYTHON = "3.11.5"  # mkdocs-material needs it
_CUDA = re.compile(r"(nvidia|cuda)-|triton$")
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)")


def normalized(name: str) -> str:
    """The name of a package as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> dict[str, str]:
    """Package -> version, from the text of a constraints or requirements file."""
    found = (_PIN.match(line) for line in text.splitlines())
    return {normalized(match[1]): match[2] for match in found if match}


def read_blocks(text: str) -> dict[str, str]:
    """Package -> its lines, pin and hashes, from the text of a requirements file; without those for browsers."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    blocks: dict[str, str] = {}
    for line in lines:
        if match := _PIN.match(line):
            name = normalized(match[1])
            blocks[name] = ""
        blocks[name] += f"{line}\n"
    return {
        name: _with_and_without_extras(block)
        for name, block in blocks.items()
        if "sys_platform == 'emscripten'" not in block
    }


def _with_and_without_extras(block: str) -> str:
    """A package that is needed with an extra is also needed without it, which is another requirement for pip."""
    plain = re.sub(r"^([^[=]+)\[[^]]*\]", r"\1", block)
    return block if plain == block else plain + block


def with_cpu_builds(block: str, sums: str) -> str:
    """Add the builds of torch for the CPU, which are not on the same index.

    Args:
        block: torch's lines.
        sums: Lines of SHA-256 and file name.

    Returns:
        The lines with further hashes.
    """
    pin, version = block.splitlines()[0], read_pins(block)["torch"]
    known = [line.split() for line in sums.splitlines() if f"torch-{version}+cpu-" in line]
    if not known:
        raise SystemExit(
            f"{TORCH_CPU} has no torch {version}; copy the sums of its Linux wheels from "
            "https://download.pytorch.org/whl/cpu/torch/"
        )
    added = "".join(f"    --hash=sha256:{digest} \\\n" for digest, _ in known)
    return block.replace(f"{pin}\n", f"{pin}\n{added}", 1)


def divide(everything: Mapping[str, str], runtime: Iterable[str], build: Iterable[str]) -> dict[str, str]:
    """The texts of the files.

    Args:
        everything: Package -> its lines.
        runtime: The packages that users need.
        build: The packages that build others; some are in `runtime`, too.

    Returns:
        File name -> text.
    """
    cuda = {name for name in everything if _CUDA.match(name)}
    needed, tools = set(runtime) - cuda, set(build)
    developed = everything.keys() - needed - tools - (cuda - {"triton"})  # which tests also use without CUDA
    files = {
        "runtime.txt": ("efface and its extras for users", needed),
        "build.txt": ("what builds packages that come as source, and efface itself", tools),
        "development.txt": ("what tests and documentation need besides", developed),
        "cuda.txt": ("what the CUDA build of torch needs besides, on Linux", cuda),
    }
    return {
        file: f"# For pip install --require-hashes: {purpose}. Written by `make pins`.\n"
        + "".join(everything[name] for name in sorted(names))
        for file, (purpose, names) in files.items()
    }


def _compile(uv: str, sources: Iterable[str], *requirements: str, extras: Iterable[str] = ()) -> str:
    options = [f"--extra={extra}" for extra in extras]
    command = [uv, "pip", "compile", *sources, *options, "--constraint", str(CONSTRAINTS), "--universal"]
    command += ["--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-strip-extras"]
    command += ["--no-annotate", "--no-header", "--quiet"]
    ran = subprocess.run(
        command, cwd=ROOT, input="\n".join(requirements), stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout


def main() -> None:
    """Write the files."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    uv, efface = sys.argv[1], ("pyproject.toml",)
    build = read_blocks(_compile(uv, ("-",), *BUILD_TOOLS))
    blocks = {**read_blocks(_compile(uv, efface, extras=["dev"])), **build}
    blocks["torch"] = with_cpu_builds(blocks["torch"], TORCH_CPU.read_text(encoding="utf-8"))
    runtime = read_blocks(_compile(uv, efface, extras=USER_EXTRAS))
    for file, text in divide(blocks, runtime, build).items():
        (FOLDER / file).write_text(text, encoding="utf-8")
        print(f"{FOLDER / file}: {len(read_pins(text))} packages")


if __name__ == "__main__":
    main()
