"""Commands that train a model, or prepare it: run, unlearn, finetune, demo, request, sweep; presets, doctor."""
