"""What a method says of each phrase, as records and as files."""
