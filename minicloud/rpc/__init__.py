"""The wire contracts between daemons: method names, arguments, answers. Nothing else."""
