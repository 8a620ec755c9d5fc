"""Questions and answers as token ids."""
