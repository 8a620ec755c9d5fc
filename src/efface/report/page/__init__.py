"""The report on runs: loads their folders and writes one HTML page, or Markdown, CSV or LaTeX tables. No torch."""
