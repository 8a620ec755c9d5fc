"""`efface record`: a finished run -> a signed record of what was done about a deletion request. No torch."""
