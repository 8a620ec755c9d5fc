"""Compare several models: confidence intervals, ranks, differences. No torch."""
