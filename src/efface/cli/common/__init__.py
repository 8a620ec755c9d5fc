"""Parts of several commands: options, shell completion, dry runs, error messages."""
