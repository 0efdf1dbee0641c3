"""Block storage: volumes as files, exported to hosts over NBD, behind OpenStack's API v3."""
