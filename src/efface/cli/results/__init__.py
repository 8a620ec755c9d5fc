"""Commands that use a trained model or a run's folder: scores, report, chat, push; verify, purge, record, reproduce."""
