"""Parts of several commands: options, shell completion, dry runs, usage errors."""
