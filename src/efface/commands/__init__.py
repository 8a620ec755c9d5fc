"""What the other commands do with one model: finetune, evaluate, downstream, answers, probe, push."""
