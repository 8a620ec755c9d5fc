"""`efface audit`: a finished run -> which facts that its model knew before can be brought back, and by which attack."""
