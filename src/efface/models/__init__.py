"""Models: found, loaded, adapted, saved; and what training them keeps in memory."""
