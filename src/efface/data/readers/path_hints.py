"""What to do about a path that leads nowhere, or to what is no data as it stands. No torch."""

from __future__ import annotations

import re
from pathlib import Path

_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_PICKLES = (".pkl", ".pickle", ".pt", ".npy", ".npz")
_PAGES = (".pdf", ".docx", ".doc", ".odt", ".rtf", ".epub", ".html", ".htm")

_ZIP = b"PK\x03\x04"
_INSIDE_A_SHEET = b"xl/workbook"
_DATASET_PAGE = re.compile(r"(?:https://huggingface\.co/|hf://)datasets/(\w[\w.-]*/\w[\w.-]*)")
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def unsupported_format(suffix: str, content: bytes) -> str | None:
    """Say what a file is, and what to do, where it must be turned into something else first."""
    if suffix in _SHEETS or (content.startswith(_ZIP) and _INSIDE_A_SHEET in content):
        return "a sheet of a spreadsheet program; save the sheet as CSV (UTF-8)"
    if suffix in _PAGES:
        return "a document with a layout; save its text as .txt (UTF-8)"
    if suffix in _ARCHIVES or content.startswith(_ZIP):
        return "an archive; unpack it, and give a file inside it"
    if suffix in _PICKLES:
        return "written by Python, and may run code when it is read; save its rows as .jsonl or .parquet"
    if suffix in (".yaml", ".yml"):
        return "YAML; save its rows as .json or .jsonl"
    return None


def url_problem(path: str) -> str | None:
    """Say what to do instead of giving a web address; None for what is none."""
    if "://" not in path:
        return None
    if page := _DATASET_PAGE.match(path):
        return f"{path} is a web address; for this dataset of the hub, give hf:{page[1]}"
    return f"{path} is a web address; download it first, or give hf:OWNER/NAME for a dataset of the hub"


def missing_path_hint(path: Path) -> str:
    """Say what may have been meant by a path that does not exist."""
    if any(character in str(path) for character in "*?["):
        return "patterns are not filled in: give one file, or a folder of texts"
    if _HUB_NAME.fullmatch(str(path)) and not path.suffix[1:].isalpha():
        return f"check the path, or give hf:{path} for the dataset of the hub"
    return "check the path"
