"""Files on disk: their paths; written whole or not at all, by one writer; read with limits and sums. No torch."""
