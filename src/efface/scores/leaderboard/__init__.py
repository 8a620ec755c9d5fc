"""Several models side by side: intervals, ranks, differences. No torch."""
