"""Which weights of a model are trained, and AdamW, which changes them: in float32, or with 8-bit moments."""
