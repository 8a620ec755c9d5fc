"""How a run reports its progress: the reporter protocol, and a reporter for the terminal."""
