"""Before a run: doctor, forecast, dry run."""
