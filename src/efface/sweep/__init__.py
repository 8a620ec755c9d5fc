"""`efface sweep`: every combination of a grid of settings, made once, and one table of them all."""
