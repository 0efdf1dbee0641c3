"""Setting a machine up as a cloud, and undoing it: what `tools/up` and `tools/down` run.

Each stage is a module with a small function that looks before it acts. Knows files, packages'
daemons and processes; knows nothing of how servers, networks or volumes work.
"""
