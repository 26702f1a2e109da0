"""What people look at: pages, tables and pictures of a run."""
