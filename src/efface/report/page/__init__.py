"""Run folders -> one HTML page, or Markdown, CSV and LaTeX tables. No torch."""
