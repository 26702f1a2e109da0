"""Raking, slowly: one phrase, one margin and one category at a time."""


def slow_weights(names, whole, sweeps, sizes=None):
    """The weight of each phrase, 1 on average, given the cell that it is in; `sizes` are 1/2 for half a phrase."""
    sizes = [1.0] * len(names) if sizes is None else sizes
    weights = [1.0] * len(names)
    for _ in range(sweeps):
        for place in range(4):
            here = {name[place] for name in names}
            wanted = dict.fromkeys(here, 0.0)
            for name, size in whole.items():
                if name[place] in here:
                    wanted[name[place]] += size
            for category in here:
                rows = [row for row, name in enumerate(names) if name[place] == category]
                now = sum(weights[row] * sizes[row] for row in rows)
                for row in rows:
                    weights[row] *= wanted[category] / sum(wanted.values()) * sum(sizes) / now
    return weights
