"""A split scored under every protocol, and two such runs compared."""
