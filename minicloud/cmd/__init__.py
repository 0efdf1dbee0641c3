"""One short main() a daemon. Only this package knows who is connected to whom."""
