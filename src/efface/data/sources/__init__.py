"""TOFU, real-world entities, synthetic authors or a user's files -> a task. No torch."""
