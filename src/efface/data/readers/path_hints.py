"""Hints about paths that do not exist, and files in formats that are not supported. No torch."""

from __future__ import annotations

import re
from pathlib import Path

_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_PICKLES = (".pkl", ".pickle", ".pt", ".npy", ".npz")
_FORMATTED_DOCUMENTS = (".pdf", ".docx", ".doc", ".odt", ".rtf", ".epub", ".html", ".htm")

_ZIP_MAGIC = b"PK\x03\x04"
_SPREADSHEET_MEMBER = b"xl/workbook"
_DATASET_URL = re.compile(r"(?:https://huggingface\.co/|hf://)datasets/(\w[\w.-]*/\w[\w.-]*)")
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def unsupported_format(suffix: str, content: bytes) -> str | None:
    """Recognize a file that must be converted first.

    Args:
        suffix: Suffix of the file in lower case.
        content: Content of the file.

    Returns:
        What the file is and how to convert it; None if it is not such a file.
    """
    if suffix in _SPREADSHEETS or (content.startswith(_ZIP_MAGIC) and _SPREADSHEET_MEMBER in content):
        return "a spreadsheet; save the sheet as CSV (UTF-8)"
    if suffix in _FORMATTED_DOCUMENTS:
        return "a formatted document; save its text as .txt (UTF-8)"
    if suffix in _ARCHIVES or content.startswith(_ZIP_MAGIC):
        return "an archive; unpack it, and give a file inside it"
    if suffix in _PICKLES:
        return "a Python pickle or array file, which may run code when loaded; save its rows as .jsonl or .parquet"
    if suffix in (".yaml", ".yml"):
        return "YAML; save its rows as .json or .jsonl"
    return None


def url_problem(path: str) -> str | None:
    """Recognize a URL that was given as a path.

    Args:
        path: The path that the user gave.

    Returns:
        What to give instead; None if the path is not a URL.
    """
    if "://" not in path:
        return None
    if dataset := _DATASET_URL.match(path):
        return f"{path} is a URL; for this dataset of the hub, give hf:{dataset[1]}"
    return f"{path} is a URL; download it first, or give hf:OWNER/NAME for a dataset of the hub"


def missing_path_hint(path: Path) -> str:
    """Suggest what may have been meant by a path that does not exist."""
    if any(character in str(path) for character in "*?["):
        return "patterns are not expanded: give one file, or a folder of texts"
    if _HUB_NAME.fullmatch(str(path)) and not path.suffix[1:].isalpha():
        return f"check the path, or give hf:{path} for the dataset of the hub"
    return "check the path"
