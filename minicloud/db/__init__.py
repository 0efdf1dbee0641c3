"""Compute's tables and the queries on them: functions, noun first, on an open transaction.

They take values and return values of ``domain.models``; no row object leaves this package.
"""
