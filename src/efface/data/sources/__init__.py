"""Sources of data: TOFU, real people, synthetic authors, a user's files. No torch."""
