"""The hosts' way to the database, and the pass that finds what got lost."""
