"""The hypervisor: domain specifications in, facts out."""
