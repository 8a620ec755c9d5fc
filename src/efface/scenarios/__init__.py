"""Plans of several requests: what is forgotten in which order, and what is kept meanwhile. No torch."""
