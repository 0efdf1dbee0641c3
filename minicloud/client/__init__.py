"""REST clients of OpenStack-compatible services, on requests."""
