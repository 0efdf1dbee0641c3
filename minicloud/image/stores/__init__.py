"""Where image data lies: a small contract (``base``) and the stores that keep it."""
