"""Readers of pictures, captions and annotations."""
