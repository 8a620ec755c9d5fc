"""A name or folder -> a loaded, checked model and tokenizer, with adapters if set; a trained model -> a folder."""
