"""One module a group of commands; ``<name>_command`` is what ``main`` looks for."""
