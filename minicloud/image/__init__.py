"""The image service: OpenStack's Image API v2 over a database and a directory of files."""
