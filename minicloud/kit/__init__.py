"""Glue that knows no noun of minicloud: web, RPC, database, log, clock, policy."""
