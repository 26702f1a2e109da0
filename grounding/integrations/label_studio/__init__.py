"""A machine learning backend for Label Studio, by its HTTP protocol: it drafts the boxes of a project's tasks."""
