"""Photograph the top of a page that efface wrote, in both themes, as docs/images/report.png and report-dark.png.

python scripts/page_picture.py report.html docs/images/report.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import which

from playwright.sync_api import sync_playwright

_SIZE = {"width": 560, "height": 640}
"""Narrow enough for its text to be read where a phone makes the picture smaller."""


def main(page: Path, out: Path) -> None:
    """Write `out`, and beside it the same in the dark theme."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        for theme in ("light", "dark"):
            shown = browser.new_page(viewport=_SIZE, device_scale_factor=2, color_scheme=theme)
            shown.goto(page.resolve().as_uri())
            shown.screenshot(path=out if theme == "light" else out.with_stem(f"{out.stem}-dark"))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
