"""The README.md of a classifier on the hub, with the metadata that the hub reads."""

from collections.abc import Sequence

from grounding.wording import counted


def model_card(repo_id: str, tags: Sequence[str]) -> str:
    """Say what the repository holds and how to load it."""
    return f"""---
library_name: grounding
pipeline_tag: zero-shot-object-detection
tags:
- phrase-grounding
- excitation-backprop
---

# {repo_id}

A tag classifier of `grounding`, which finds the region that each phrase of a caption talks about. It knows
{counted(len(tags), "tag")}, such as {", ".join(tags[:5])}.

```python
import grounding

localizer = grounding.Localizer.from_pretrained("{repo_id}")
result = localizer("photo.jpg", "{" and ".join(f"a {tag}" for tag in tags[:2])}")
```
"""
