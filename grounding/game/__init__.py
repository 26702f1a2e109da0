"""The ClickMe game: people paint over what matters in a picture until a classifier recognises it."""
