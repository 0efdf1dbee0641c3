"""The nouns and rules of minicloud as plain values: no I/O, stdlib and msgspec only."""
