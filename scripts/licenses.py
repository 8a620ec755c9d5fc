"""Metadata of the installed packages -> docs/licenses.md, the licenses of all packages that efface may install.

python scripts/licenses.py            # write the page
python scripts/licenses.py --check    # exit with 1 if it is stale

Both fail on a license that is unknown, or neither permissive nor accepted by name below.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path

from hash_pins import CONSTRAINTS, FOLDER, normalized, read_pins

PAGE = CONSTRAINTS.parent / "docs" / "licenses.md"
PERMISSIVE = frozenset(
    (
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "LLVM-exception",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Zlib",
    )
)
"""By SPDX; `BSD` where a package does not say which of them."""
ACCEPTED = {
    "certifi": ("MPL-2.0", "a list of certificates, unchanged"),
    "chardet": ("LGPL-2.1-or-later", "imported unchanged, by the extra `downstream` alone"),
    "dominate": ("LGPL-3.0-or-later", "imported unchanged, by the extra `downstream` alone"),
    "hypothesis": ("MPL-2.0", "tests alone"),
    "pathspec": ("MPL-2.0", "development alone"),
    "tqdm": ("MPL-2.0 AND MIT", "imported unchanged"),
    "cuda-toolkit": ("not stated", "names the packages of CUDA that torch needs"),
    **dict.fromkeys(
        (
            "nvidia-cublas",
            "nvidia-cuda-cupti",
            "nvidia-cuda-nvrtc",
            "nvidia-cuda-runtime",
            "nvidia-cudnn-cu13",
            "nvidia-cufft",
            "nvidia-cufile",
            "nvidia-curand",
            "nvidia-cusolver",
            "nvidia-cusparse",
            "nvidia-cusparselt-cu13",
            "nvidia-nccl-cu13",
            "nvidia-nvjitlink",
            "nvidia-nvshmem-cu13",
        ),
        ("LicenseRef-NVIDIA-Proprietary", "torch for CUDA alone; see NVIDIA's terms"),
    ),
}
"""Package -> its license, which is not permissive or not stated, and why it is accepted. Another license fails."""
_STATED = {
    **{name: license for name, (license, _) in ACCEPTED.items() if name.startswith(("nvidia-", "cuda-"))},
    "cuda-bindings": "Apache-2.0",
    "cuda-pathfinder": "Apache-2.0",
    "editables": "MIT",
    "hatchling": "MIT",
    "nvidia-nvtx": "Apache-2.0",
    "tomlkit": "MIT",
    "torchao": "BSD-3-Clause",
    "triton": "MIT",
    "trove-classifiers": "Apache-2.0",
    "wheel": "MIT",
}
"""Licenses of packages that are not installed for development, by the index, or that only their file states."""
_SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-or-later",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "lgpl-3.0-or-newer": "LGPL-3.0-or-later",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the mit license (mit)": "MIT",
}
"""What packages write, in lower case -> SPDX."""
_GROUPS = (
    ("With efface and its extras", "runtime.txt"),
    ("To build packages", "build.txt"),
    ("For development", "development.txt"),
    ("With the CUDA build of torch, on Linux", "cuda.txt"),
)
_INTRODUCTION = """# Licenses of dependencies

efface is licensed under [Apache-2.0](../LICENSE). pip installs the packages below with it. The list is made from their
metadata by `make licenses`; `make docs` fails when it is stale, and on a license that is unknown, or that is neither
permissive nor accepted by name in `scripts/licenses.py`. `BSD`: the package does not say which of the BSD licenses.
Pages of `efface report` contain Chart.js (MIT), whose license is beside it in the package.
"""


@dataclass(frozen=True)
class Licensed:
    """A package and its license."""

    name: str
    version: str
    license: str
    """An SPDX expression."""

    @property
    def problem(self) -> str | None:
        """Why it may not be used; None if it may."""
        accepted = ACCEPTED.get(self.name)
        if accepted is not None and accepted[0] == self.license:
            return None
        return None if is_permissive(self.license) else f"{self.name} {self.version}: {self.license or 'no license'}"


def is_permissive(expression: str) -> bool:
    """Whether every license of an SPDX expression is permissive, or one of each choice.

    Args:
        expression: Without parentheses around `OR`, which no package has.
    """
    if not expression or "(" in expression:
        return False
    choices = [re.split(r" AND | WITH ", choice) for choice in expression.split(" OR ")]
    return any(set(choice) <= PERMISSIVE for choice in choices)


def license_of(metadata: Message) -> str:
    """The license in the metadata of a package, as SPDX where it is known, as it is written there otherwise.

    Args:
        metadata: Of the installed package; its expression counts most, then the first line of its text.
    """
    classifiers = [
        each.split(" :: ")[-1] for each in metadata.get_all("Classifier") or [] if each.startswith("License")
    ]
    first_line = (metadata.get("License") or "").strip().partition("\n")[0].strip()
    written = [metadata.get("License-Expression") or "", first_line, " AND ".join(classifiers)]
    spdx = [_SPDX.get(each.lower(), each) for each in written if each not in ("", "UNKNOWN", "BSD")]
    return next((each for each in spdx if is_permissive(each)), spdx[0] if spdx else "")


def read_license(name: str, version: str) -> Licensed:
    """A package of constraints.txt or cuda.txt.

    Args:
        name: Of the package, normalized.
        version: As pinned.
    """
    # setuptools brings packages of its own, which are on the path once it is imported
    found = (each for each in distributions(name=name) if "_vendor" not in Path(str(each.locate_file(""))).parts)
    if (installed := next(found, None)) is None:
        return Licensed(name, version, _STATED.get(name, ""))
    if installed.version.partition("+")[0] != version:
        raise SystemExit(f"{name} {installed.version} is installed, not {version}: make install")
    return Licensed(name, version, license_of(installed.metadata) or _STATED.get(name, ""))


def page(groups: dict[str, list[Licensed]]) -> str:
    """The page in Markdown.

    Args:
        groups: Heading -> packages.
    """
    parts = [_INTRODUCTION]
    for heading, packages in groups.items():
        rows = [f"| {each.name} | {each.version} | {each.license}{_why_accepted(each)} |" for each in packages]
        parts.append("\n".join([f"## {heading}\n", "| package | version | license |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _why_accepted(package: Licensed) -> str:
    return f" ({ACCEPTED[package.name][1]})" if package.name in ACCEPTED else ""


def main() -> None:
    """Write or check the page; exit with 1 on a license that may not be used."""
    groups = {
        heading: [read_license(normalized(name), version) for name, version in sorted(_pins(file).items())]
        for heading, file in _GROUPS
    }
    if problems := [each.problem for packages in groups.values() for each in packages if each.problem]:
        raise SystemExit("licenses to look at (scripts/licenses.py):\n  " + "\n  ".join(problems))
    text = page(groups)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{PAGE} is stale: make licenses")


def _pins(file: str) -> dict[str, str]:
    return read_pins((FOLDER / file).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
