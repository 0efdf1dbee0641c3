"""Identity v3: who somebody is, what they may do, and where the services are.

Its heart is ``tokens.py``. It keeps no secret but password hashes and the Fernet keys.
"""
