"""Published benchmarks: downloaded, or read from the hub, and made into tasks. No torch."""
