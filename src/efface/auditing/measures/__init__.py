"""What attacks compute: changed weights, states inside a model, numbers of answer tokens, and their statistics."""
