"""What a host does to its kernel for its guests' networking: desired state in, changes made."""
