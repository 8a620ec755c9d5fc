"""One page that shows runs: read from their folders, and written as HTML, Markdown, CSV or LaTeX. No torch."""
