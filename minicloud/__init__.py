"""minicloud: real servers behind the OpenStack API on one to twenty lab hosts."""
