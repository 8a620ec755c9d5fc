"""Requests unlearned one after another; each is a run."""
