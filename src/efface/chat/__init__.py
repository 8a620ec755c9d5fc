"""`efface chat`: the same question to the model before unlearning and to the one after it."""
