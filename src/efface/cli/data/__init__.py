"""`efface data`: look at data, download it, ask a model about it."""
