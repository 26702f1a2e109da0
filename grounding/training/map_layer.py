"""Where maps are read in a network whose layers are counted anew, because attention or batch normalisation is in it."""

from grounding.attention import record
from grounding.attention.graph import Tape
from grounding.attention.layers import indexed_layer, layers
from grounding.errors import GroundingError
from grounding.tagging.network import PlainFeatures, TagNetwork


def past_attention(map_layer: int, network: TagNetwork, size_px: int) -> int:
    """Count a layer anew, for a network that is the one it was counted in and attention (GALA) inserted into it.

    Layers are counted as `attention.layers.layers` does, from the head down; each layer with attention adds one.

    Args:
        map_layer: below 0, of the network without attention.
        size_px: of the sides of its images.

    Returns:
        Below 0, the same layer of the network; `map_layer` itself where it has no attention.

    Raises:
        GroundingError: the network has not so many layers.
    """
    if network.gala is None:
        return map_layer
    tape = _tape(network, size_px)
    inside = {operation for operation in tape.operations if operation.module.endswith(".gala")}
    factors = {operation.outputs[0] for operation in inside}
    products = {
        operation.outputs[0]
        for operation in tape.operations
        if operation not in inside and operation.name == "aten.mul.Tensor" and operation.args[1] in factors
    }
    cuts = layers(tape)
    kept = [at - len(cuts) for at, value in enumerate(cuts) if value not in products]
    if not -len(kept) <= map_layer < 0:
        raise GroundingError(f"map_layer is {map_layer}: expected one of -{len(kept)} to -1, the layers of the network")
    return kept[map_layer]


def while_training(map_layer: int | None, network: TagNetwork, size_px: int) -> int | str | None:
    """Name a layer of the finished classifier in the network that is trained, where it is a plain one.

    That has batch normalisation, which counts as layers of its own until it is folded.

    Args:
        map_layer: below 0, of the classifier; None for that at stride 16.
        size_px: of the sides of the images.

    Returns:
        What `contrastive_mwp` takes.
    """
    if map_layer is None or not (isinstance(network.features, PlainFeatures) and network.features.normalised):
        return map_layer
    tape = _tape(network, size_px)
    value = indexed_layer(tape, map_layer)
    return next(operation.module for operation in tape.operations if value in operation.outputs)


def _tape(network: TagNetwork, size_px: int) -> Tape:
    """The finished classifier's forward pass on a blank image."""
    folded = network.folded()
    images = folded.head.weight.new_zeros(1, 3, size_px, size_px)
    return record(lambda images: folded.mean_scores(folded.features(images)), images)
