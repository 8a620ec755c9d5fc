"""What commands share: options, completion, dry runs, usage errors."""
