"""The methods that a benchmark compares, under the names that people type; imports nothing heavy."""

from typing import Final

from grounding.errors import GroundingError, did_you_mean

DEFAULT: Final = "contrastive-mwp,mwp,grad-cam,cam,gradient,guided,deconv,lrp,center"
KNOWN: Final = (*DEFAULT.split(","), "rise")
_ALIASES: Final = {
    "c-mwp": "contrastive-mwp",
    "gradcam": "grad-cam",
    "guided-backprop": "guided",
    "deconvnet": "deconv",
    "centre": "center",
}


def parse_methods(text: str) -> tuple[str, ...]:
    """The names in a list with commas; spelling with hyphens or underscores, and `centre`, are as good.

    Raises:
        GroundingError: an unknown name, one that is there twice, or none.
    """
    names: list[str] = []
    for part in text.split(","):
        name = part.strip().lower().replace("_", "-")
        name = _ALIASES.get(name, name)
        if name not in KNOWN:
            advice = did_you_mean(name, KNOWN, f"expected some of {', '.join(KNOWN)}")
            raise GroundingError(f"unknown method '{part.strip()}': {advice}")
        if name in names:
            raise GroundingError(f"method '{name}' is there twice: name each once")
        names.append(name)
    return tuple(names)
