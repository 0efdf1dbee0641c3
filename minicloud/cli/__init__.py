"""The command line for people. Starts fast: everything but click is imported when it is used."""
