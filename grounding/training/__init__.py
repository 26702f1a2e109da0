"""Training of tag classifiers from pictures with captions."""
