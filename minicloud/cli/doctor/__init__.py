"""What ``minicloud doctor`` looks at: a small function a symptom, listed in ``registry.py``.

A check changes nothing that lasts, needs no cloud, and says what it could not see.
"""
