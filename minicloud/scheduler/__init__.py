"""Places launches on hosts: snapshot, choice, claim, cast."""
