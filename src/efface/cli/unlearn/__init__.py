"""Commands that make a model forget: run, unlearn, finetune, demo, request, sweep; and what comes before: presets, doctor."""
