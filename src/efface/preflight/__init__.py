"""Before a run: `efface doctor`, its forecasts and measurements, and dry runs."""
