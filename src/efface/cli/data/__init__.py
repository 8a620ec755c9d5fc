"""`efface data`: list, download, check and describe data; a model's answers or knowledge -> data."""
