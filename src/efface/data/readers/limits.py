"""Limits on what is read from a file: its size and its number of values. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from efface.data.file_settings import ReadLimits
from efface.errors import EffaceError
from efface.files.safe_read import MIB

_SEPARATORS = (b",", b";", b"\t", b"|", b"\n", b"{", b"[")
"""Each value in JSON or CSV has one of these before or after it."""


@dataclass(frozen=True)
class Limits:
    """The limits of one file, and the setting that has them."""

    config: ReadLimits = field(default_factory=ReadLimits)
    setting: str = ""
    """Such as `data.forget`, for error messages; empty for a file whose limits cannot be set."""

    @property
    def max_bytes(self) -> int:
        """The most bytes, decompressed."""
        return int(self.config.max_mib * MIB)

    @property
    def size_remedy(self) -> str:
        """What to do about a file that is too large."""
        return self._remedy("max_mib")

    def check_size(self, source: str, size: int) -> None:
        """Refuse content that is too large.

        Args:
            source: Name of the file.
            size: Bytes, decompressed.

        Raises:
            EffaceError: It has more than `max_bytes`.
        """
        if size > self.max_bytes:
            raise EffaceError(f"{source} has more than {self.config.max_mib:g} MiB; {self.size_remedy}")

    def check_values(self, source: str, count: int) -> None:
        """Refuse content of too many values.

        Args:
            source: Name of the file.
            count: Number of values.

        Raises:
            EffaceError: There are more than `max_values`.
        """
        if count > self.config.max_values:
            raise EffaceError(
                f"{source} has {count:,} values, the limit is {self.config.max_values:,}; {self._remedy('max_values')}"
            )

    def _remedy(self, limit: str) -> str:
        if not self.setting:
            return "files of this kind are smaller, so restore it from a copy"
        return f"if you trust it, raise {self.setting}.limits.{limit}"

    def check_text(self, source: str, content: bytes) -> None:
        """Refuse JSON or CSV of too many values, before it is parsed.

        Args:
            source: Name of the file.
            content: The file's bytes.

        Raises:
            EffaceError: It has too many.
        """
        self.check_values(source, sum(map(content.count, _SEPARATORS)))
