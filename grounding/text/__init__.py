"""Captions to phrases, words to tags."""
