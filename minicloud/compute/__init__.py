"""A compute host: carries out operations through recipes, reports, and keeps the host clean.

No database here: state reaches it through the conductor.
"""
