"""Guests' screens in a browser, over WebSocket. Keeps nothing: the API knows every token."""
