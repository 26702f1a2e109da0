"""Tiny CLIPs of the real formats, with random weights, saved by the real libraries."""

import copy
import json
import re
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


TINY = {  # an architecture of open_clip
    "embed_dim": D,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": PATCH, "mlp_ratio": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2, "mlp_ratio": 2},
}


def open_clip_model(seed=0, **changes):
    """A random CLIP of open_clip, of width 32."""
    import open_clip

    torch.manual_seed(seed)
    return open_clip.CLIP(**{**copy.deepcopy(TINY), **changes}).eval()


def save_open_clip(folder, model=None, weights="open_clip_model.safetensors", config=TINY):
    """Write a folder in open_clip's format."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    model = open_clip_model() if model is None else model
    settings = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    if weights:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / weights)
    return folder


def as_transformers(model, config=TINY):
    """The same CLIP in transformers, with its weights name by name, and the tokenizer of open_clip."""
    import transformers
    from open_clip import SimpleTokenizer

    seen, text = config["vision_cfg"], config["text_cfg"]
    one = {"intermediate_size": 64, "hidden_act": "gelu"}
    vision = {"image_size": seen["image_size"], "patch_size": seen["patch_size"], "num_attention_heads": 2}
    vision |= one | {"hidden_size": seen["width"], "num_hidden_layers": seen["layers"]}
    words = {"vocab_size": text["vocab_size"], "hidden_size": text["width"], "num_hidden_layers": text["layers"]}
    words |= one | {"num_attention_heads": text["heads"], "max_position_embeddings": text["context_length"]}
    words |= {"bos_token_id": 49406, "eos_token_id": 49407}
    settings = transformers.CLIPConfig(text_config=words, vision_config=vision, projection_dim=config["embed_dim"])
    ours = transformers.CLIPModel(settings).eval()
    ours.load_state_dict(_renamed(model.state_dict()))
    own = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): number for token, number in own.encoder.items()}
    return ours, transformers.CLIPTokenizer(vocabulary, list(own.bpe_ranks), model_max_length=77)


_NAMES = (
    (r"^visual\.class_embedding", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.transformer\.resblocks", "vision_model.encoder.layers"),
    (r"^transformer\.resblocks", "text_model.encoder.layers"),
    (r"^token_embedding", "text_model.embeddings.token_embedding"),
    (r"^positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final", "text_model.final_layer_norm"),
    (r"\.attn\.", ".self_attn."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def _renamed(state):
    found = {"visual_projection.weight": state["visual.proj"].T, "text_projection.weight": state["text_projection"].T}
    for name, value in state.items():
        for old, new in _NAMES:
            name = re.sub(old, new, name)
        if "in_proj_" in name:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                found[name.replace("in_proj_", f"{part}_proj.")] = rows
        elif name not in ("visual.proj", "text_projection"):
            found[name] = value
    return found
