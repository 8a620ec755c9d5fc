"""What a run's folder says about the run: its settings, its manifest and the card of its model."""
