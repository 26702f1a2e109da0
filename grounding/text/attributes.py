def known_attribute(stem):
    return "unknown"
