"""The real pipeline of transformers on a tiny Owl-ViT with random weights."""

import torch

from helpers.clip import CONTEXT, alphabet, tokenizer


def zero_shot_pipeline():
    """`ZeroShotObjectDetectionPipeline` itself, with a network that believes a little in everything."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor
    from transformers.pipelines import ZeroShotObjectDetectionPipeline

    torch.manual_seed(0)
    shared = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(alphabet()) - 2, "eos_token_id": len(alphabet()) - 1}
    text = {**shared, "vocab_size": len(alphabet()), "max_position_embeddings": CONTEXT, **ends}
    config = OwlViTConfig(
        text_config=text, vision_config={**shared, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    return ZeroShotObjectDetectionPipeline(
        model=OwlViTForObjectDetection(config).eval(),
        tokenizer=tokenizer(),
        image_processor=OwlViTImageProcessor(size={"height": 32, "width": 32}),
    )
