"""How winning probability passes down through each operation: `table` states the choices."""
