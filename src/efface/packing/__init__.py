"""Many sequences in one forward pass: packed if the model supports it, else in padded batches of similar length."""
