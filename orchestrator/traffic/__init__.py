"""Arrivals of requests: recorded traces, generators, and their scaling in time and rate."""
