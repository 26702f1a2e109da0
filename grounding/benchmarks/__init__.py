"""Methods that explain a classifier, scored on pictures with labelled classes."""
