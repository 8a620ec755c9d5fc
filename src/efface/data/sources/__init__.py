"""What a task can be made of: TOFU, real people, generated authors, a user's files. No torch."""
