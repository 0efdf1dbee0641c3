"""Where the bytes of volumes lie: ``base`` says what a backend can do, the others do it."""
