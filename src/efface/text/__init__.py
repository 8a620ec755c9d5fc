"""Questions and answers -> token ids, with the exact boundary between prompt and answer."""
