"""What single commands do.

With one model: finetune, evaluate, downstream, answers, probe, push; with a run's folder: verify, purge, reproduce.
"""
