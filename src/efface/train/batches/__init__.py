"""Items -> the micro-batches of each optimizer step: sampled, tokenized and divided by the tokens that fit."""
