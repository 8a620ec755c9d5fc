"""Requests to forget -> one run per request, each starting from the model after the request before."""
