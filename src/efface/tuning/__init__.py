"""`efface tune`: a bound on what may be lost -> the settings that forget most within it, and their model."""
