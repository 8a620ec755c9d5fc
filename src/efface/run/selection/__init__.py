"""Scores while a model trains, and which of its states is saved."""
