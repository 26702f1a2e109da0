"""Tiny CLIPs of the real formats, with random weights, saved by the real libraries."""

from pathlib import Path

import torch

SIDE, PATCH, D = 32, 8, 24
CONTEXT = 64  # tokens


def alphabet():
    """A vocabulary of CLIP's tokenizer that has letters alone: name of token -> number."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def clip_model(seed=0, layers=2, cls="CLIPModel", **vision):
    """A random `CLIPModel` or `SiglipModel` of width 32."""
    import transformers

    torch.manual_seed(seed)
    ends = {"bos_token_id": len(alphabet()) - 2, "eos_token_id": len(alphabet()) - 1, "pad_token_id": 0}
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2}
    text = {**shared, "vocab_size": len(alphabet()), "max_position_embeddings": CONTEXT, **ends}
    seen = {**shared, "image_size": SIDE, "patch_size": PATCH, **vision}
    config = getattr(transformers, cls.replace("Model", "Config"))
    options = {"projection_dim": D} if cls == "CLIPModel" else {}
    return getattr(transformers, cls)(config(text_config=text, vision_config=seen, **options)).eval()


def tokenizer():
    import transformers

    return transformers.CLIPTokenizer(alphabet(), [], model_max_length=CONTEXT)


def processor(side=SIDE, **options):
    import transformers

    return transformers.CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side, **options)


def save_clip(folder, model=None, **options):
    """Write a folder with model, tokenizer and image processor, as `save_pretrained` does."""
    model = clip_model(**options) if model is None else model
    for part in (model, tokenizer(), processor()):
        part.save_pretrained(folder)
    return Path(folder)
