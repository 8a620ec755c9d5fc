"""`efface sweep`: a run for every combination of a grid of settings, and one table of all of them."""
