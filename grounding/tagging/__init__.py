"""Pictures to tags."""
