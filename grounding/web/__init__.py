"""What every page of ours stands on: who may call it, how much they may send, how it starts and how it stops."""
