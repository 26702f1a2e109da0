"""Annotation assistance: boxes are drafted, a person decides about them, and what was decided is exported."""
