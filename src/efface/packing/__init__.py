"""Many token sequences -> one forward pass: packed without padding where the model allows it, else padded batches."""
