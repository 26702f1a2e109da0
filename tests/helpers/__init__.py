"""What the tests share: oracles, networks, invented data, and where things lie. Imported by tests alone."""
