"""How the embedded classifier is trained."""
