"""Training a small CLIP: two towers whose embeddings compare pictures with texts, taught by a tag classifier."""
