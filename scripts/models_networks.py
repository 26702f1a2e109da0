"""The networks of `models_table`: their names, how each is built with random weights, and how these are prepared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn

from grounding.tagging.sources import load_classifier

# A name for each family of architectures.
TIMM = """
    vit_tiny_patch16_224 deit3_small_patch16_224 beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224
    crossvit_9_240 coat_tiny convit_tiny xcit_nano_12_p16_224 pit_ti_224 levit_128s tnt_s_patch16_224 twins_pcpvt_small
    twins_svt_small visformer_tiny volo_d1_224 vit_relpos_small_patch16_224 vit_base_r26_s32_224 vitamin_small_224
    swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224 swinv2_tiny_window8_256 gcvit_xxtiny nest_tiny maxvit_nano_rw_256
    coatnet_nano_rw_224 davit_tiny hiera_tiny_224 mvitv2_tiny pvt_v2_b0 poolformer_s12 caformer_s18 convformer_s18
    focalnet_tiny_srf efficientformer_l1 efficientformerv2_s0 efficientvit_b0 efficientvit_m0 edgenext_xx_small
    mobilevit_xxs mobilevitv2_050 fastvit_t8 repvit_m0_9 swiftformer_xs shvit_s1 tiny_vit_5m_224 nextvit_small
    sequencer2d_s inception_next_atto convnext_atto convnextv2_atto convmixer_768_32 mixer_s32_224 resmlp_12_224
    gmlp_ti16_224 gmixer_12_224 mambaout_femto starnet_s1 fasternet_t0 rdnet_tiny resnet18d ecaresnet26t seresnet50
    skresnet18 resnest14d res2net50_14w_8s resnetv2_50 nf_resnet50 dm_nfnet_f0 regnety_002 regnetz_b16 cspresnet50
    darknet53 dla34 dpn68 densenet121 vovnet39a ese_vovnet19b_dw hrnet_w18_small hgnetv2_b0 ghostnet_050
    mobilenetv3_small_050 mobilenetv4_conv_small mobilenetv4_hybrid_medium efficientnet_b0 tf_efficientnet_b0 mixnet_s
    mnasnet_small lcnet_050 tinynet_e rexnet_100 hardcorenas_a repghostnet_050 selecsls42 tresnet_m inception_v4
    inception_resnet_v2 xception41 nasnetalarge pnasnet5large botnet26t_256 halonet26t lambda_resnet26t bat_resnext26ts
    gcresnet33ts repvgg_a0 mobileone_s0 vgg11 legacy_xception naflexvit_base_patch16_gap samvit_base_patch16_224
    efficientvim_m1 mobilenetv1_100
"""
TRANSFORMERS = """
    beit bit convnext convnextv2 cvt data2vec-vision deit dinov2 dinov2_with_registers donut-swin efficientnet focalnet
    hgnet_v2 hiera ijepa levit mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 perceiver poolformer pvt pvt_v2 regnet
    resnet segformer siglip swiftformer swin swinv2 textnet vit vit_msn pp_lcnet clip
"""
CLIP = "CLIPVisionModelWithProjection SiglipVisionModel MetaClip2VisionModelWithProjection"
OPEN_CLIP = """
    RN50 RN50x4 ViT-B-32 ViT-B-32-quickgelu ViT-B-16 ViT-S-16 ViT-B-16-SigLIP convnext_base EVA02-B-16 MobileCLIP-S1
    MobileCLIP-B ViTamin-S coca_ViT-B-32 PE-Core-T-16-384
"""
TAGS, PHRASES = 1000, 16


@dataclass(frozen=True)
class Network:
    """A network, and the ways to ask it: a suffix for its name, and a function of images."""

    model: nn.Module
    size_px: int
    heads: dict[str, Callable[[Tensor], Tensor]]


def torchvision_network(name: str, size_px: int | None) -> Network:
    """At 224 px or `size_px`; the transformers at 224 px, and Inception v3 at 299 px at least."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    size_px = 224 if size_px is None or name.startswith(("vit", "maxvit")) else size_px
    return Network(model, max(size_px, 299) if name == "inception_v3" else size_px, {"": model})


def timm_network(name: str, size_px: int | None) -> Network:
    """At its own size, or at `size_px` where that is smaller and may be chosen."""
    import timm

    model = timm.create_model(name, num_classes=TAGS)
    config = cast(dict[str, Any], model.default_cfg)
    own: int = config["input_size"][-1]
    if size_px is None or config.get("fixed_input_size"):
        size_px = own
    return Network(model, min(own, size_px), {"": model})


def side(size_px: Any) -> int:
    """Of a square image, which configurations write in two ways."""
    one: int = size_px if isinstance(size_px, int) else size_px[0]
    return one


def transformers_network(name: str, size_px: int | None) -> Network:
    """Of the default configuration, with 3 layers where it has a number of layers, and at most 224 px or `size_px`."""
    import transformers

    config = transformers.CONFIG_MAPPING[name]()
    vision = getattr(config, "vision_config", config)
    for part in (config, vision):
        if isinstance(getattr(part, "num_hidden_layers", None), int) and not hasattr(part, "depths"):
            part.num_hidden_layers = 3
    largest = size_px or 224
    if side(getattr(vision, "image_size", 0)) > largest:
        vision.image_size = largest if isinstance(vision.image_size, int) else [largest, largest]
    config.num_labels = TAGS
    config.architectures = config.architectures or []  # None breaks where a configuration has several classifiers
    kind: Any = transformers.AutoModelForImageClassification
    model = kind.from_config(config)

    def scores(images: Tensor) -> Tensor:
        output = model(pixel_values=images)
        classes: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
        return classes  # (N, T)

    return Network(model, side(getattr(vision, "image_size", largest)), {"": scores})


def open_clip_network(name: str, size_px: int | None) -> Network:
    """The vision tower alone."""
    import open_clip  # type: ignore[import-untyped]

    model = open_clip.create_model(name, pretrained=None).visual

    def features(images: Tensor) -> Tensor:
        output: Tensor | tuple[Tensor, ...] = model(images)
        return output[0] if isinstance(output, tuple) else output  # (N, D)

    return Network(model, side(model.image_size), clip_heads(features))


def clip_network(name: str, size_px: int | None) -> Network:
    """A vision tower of transformers with 4 layers."""
    import transformers

    kind = getattr(transformers, name)
    model = kind(kind.config_class(num_hidden_layers=4))

    def features(images: Tensor) -> Tensor:
        output = model(pixel_values=images)
        pooled: Tensor = output.image_embeds if hasattr(output, "image_embeds") else output.pooler_output
        return pooled  # (N, D)

    return Network(model, side(model.config.image_size), clip_heads(features))


def clip_heads(features: Callable[[Tensor], Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """Image features (N, D); and their products with the text embeddings of some phrases, here random numbers."""
    texts: dict[int, Tensor] = {}

    def phrases(images: Tensor) -> Tensor:
        output = features(images)
        length = output.shape[-1]
        if length not in texts:
            texts[length] = torch.randn(PHRASES, length, generator=torch.Generator().manual_seed(2))
        return output @ texts[length].T

    return {"": features, f" + {PHRASES} phrases": phrases}


def own_network(name: str, size_px: int | None) -> Network:
    """A classifier of the package, with random weights, at its own size or a smaller one."""
    classifier = load_classifier(name)
    for module in classifier.network.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    own = classifier.preprocessing.image_size_px
    return Network(classifier.network, min(own, size_px or own), {"": lambda images: classifier.evidence(images)[0]})


@dataclass(frozen=True)
class Family:
    """Where networks come from: the module and package of the library, the names, and what builds one of a size."""

    module: str
    package: str
    names: Callable[[], Sequence[str]]
    build: Callable[[str, int | None], Network]


FAMILIES = {
    "grounding": Family("grounding", "grounding", lambda: ["embedded"], own_network),
    "torchvision": Family(
        "torchvision", "torchvision", lambda: torchvision.models.list_models(torchvision.models), torchvision_network
    ),
    "timm": Family("timm", "timm", TIMM.split, timm_network),
    "transformers": Family("transformers", "transformers", TRANSFORMERS.split, transformers_network),
    "open_clip": Family("open_clip", "open_clip_torch", OPEN_CLIP.split, open_clip_network),
    "clip": Family("transformers", "transformers", CLIP.split, clip_network),
}


def prepare(network: Network) -> None:
    """Make random weights more like trained ones, so that no branch is dead and hides what it does to the signal.

    Weights that are all zero (last layers, position embeddings) get a standard deviation of 0.02, gains of branches
    that are zero become 0.5; layer scales, and scales of batch normalisation, lie between 0.5 and 1.5 with every fifth
    negative; its shifts between 0 and 0.4, biases between 0 and 0.02, and its statistics are those of four images.
    """
    numbers = torch.Generator().manual_seed(3)
    norms = [module for module in network.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    scales = [norm.weight for norm in norms if norm.weight is not None]
    with torch.no_grad():
        for weight in network.model.parameters():
            if weight.numel() == 1 and not weight.any():
                weight.fill_(0.5)  # the gain of a residual branch
            elif weight.dim() > 1 and not weight.any():
                weight.normal_(std=0.02, generator=numbers)
            elif weight.numel() > 1 and 0 < weight.abs().max() < 0.2 and bool((weight == weight.flatten()[0]).all()):
                scales.append(weight)  # of a layer
        for scale in scales:
            scale.uniform_(0.5, 1.5, generator=numbers).flatten()[::5] *= -1
        for norm in norms:
            if norm.bias is not None:
                norm.bias.uniform_(0.0, 0.4, generator=numbers)
        for module in network.model.modules():
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) and module.bias is not None:
                module.bias.uniform_(0.0, 0.02, generator=numbers)
        network.model.eval()
        if norms:
            for norm in norms:
                norm.momentum = 1.0
                norm.train()
            next(iter(network.heads.values()))(noise(network.size_px, 4))
            network.model.eval()


def noise(size_px: int, count: int = 1) -> Tensor:
    """(count, 3, size_px, size_px) images in [0, 1]."""
    return torch.rand(count, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))
