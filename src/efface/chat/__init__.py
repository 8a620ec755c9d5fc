"""`efface chat`: ask the model before unlearning and the model after it the same questions."""
