"""The compute API's table of routes: a row per endpoint, by noun."""
