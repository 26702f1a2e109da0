"""The page to try it on: a photograph and a sentence in, and the phrases light up."""
