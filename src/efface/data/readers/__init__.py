"""Files, folders and data sets of a user -> rows. No torch."""
