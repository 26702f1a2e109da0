"""Where maps are read in a network that has got attention: its multiplications count as layers too."""

from grounding.attention import record
from grounding.attention.layers import layers
from grounding.errors import GroundingError
from grounding.tagging.network import TagNetwork


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
    folded = network.folded()
    images = folded.head.weight.new_zeros(1, 3, size_px, size_px)
    tape = record(lambda images: folded.mean_scores(folded.features(images)), images)
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
