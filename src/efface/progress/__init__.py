"""Events of a run -> progress bars and plain lines in the terminal."""
