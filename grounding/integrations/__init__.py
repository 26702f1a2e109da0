"""The localizer inside other people's tools, a module a tool; each imports its tool, which the package never needs."""
