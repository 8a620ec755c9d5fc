"""The reference model, the model before unlearning: as stored numbers, or as a model in memory."""
