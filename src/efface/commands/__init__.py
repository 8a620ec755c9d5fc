"""The settings of one command -> its work with one model: finetune, evaluate, downstream, answers, probe, push."""
