"""Records of several models -> a ranking with intervals, or their differences. No torch."""
