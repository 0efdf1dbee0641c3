"""Compute v2.1 over REST, and the metadata service: checks, rows, hints to other daemons."""
