"""Read a user's files, folders and datasets as rows. No torch."""
