"""Every architecture that is said to work does: tiny random ones load without torchvision and answer every picture."""

import numpy as np
import pytest
import torch
from miniatures.networks import write_network

from openlvm.annotators.huggingface import depth, detection, pose, segmentation
from openlvm.annotators.load import load_annotator

transformers = pytest.importorskip("transformers")

LABELS = {0: "wall", 1: "sky", 2: "floor"}
CLASSES = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
BEIT = {**VIT, "image_size": 64, "patch_size": 16, "out_indices": [0, 1, 2, 3], "pool_scales": [1, 2]}
SMALL = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
DETR = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "num_queries": 8, "use_timm_backbone": False,
    "use_pretrained_backbone": False, "backbone": None,
}  # fmt: skip
RT_DETR = {
    "encoder_hidden_dim": 32, "encoder_in_channels": [8, 16, 16], "feat_strides": [8, 16, 32], "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2, "d_model": 32, "num_queries": 8, "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "num_denoising": 0,
    "num_feature_levels": 3,
}  # fmt: skip
SQUARE = {"size": {"height": 64, "width": 64}}
EDGE = {"size": {"shortest_edge": 64, "longest_edge": 96}}
UNCROPPED = {"size": {"shortest_edge": 64}, "do_center_crop": False}
ATROUS = {"aspp_out_channels": 8, "atrous_rates": [1, 2, 3]}
MOBILE = {"image_size": 64, "width_multiplier": 0.25, "n_attn_blocks": [1, 1, 1]}
UPERNET = {"hidden_size": 16, "pool_scales": [1, 2], "use_auxiliary_head": False}
TESTED_ELSEWHERE = {"dpt", "depth_anything", "segformer", "mask2former", "yolos", "vitpose"}


def _swin():
    return transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, image_size=64, patch_size=4, out_features=STAGES
    )


def _resnet():
    return transformers.ResNetConfig(**SMALL, out_features=STAGES[1:])


def _rt_resnet():
    return transformers.RTDetrResNetConfig(**SMALL, out_features=STAGES[1:])


def _glpn():
    return dict(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8)


def _mobilevit():
    shape = {"image_size": 64, "hidden_sizes": [16] * 3, "neck_hidden_sizes": [8] * 6 + [16], "num_attention_heads": 2}
    return {**shape, **ATROUS}


def _maskformer():
    decoder = transformers.DetrConfig(**DETR)
    return {"backbone_config": _swin(), "decoder_config": decoder, "fpn_feature_size": 32, "mask_feature_size": 32}


NETWORKS = {
    "glpn": ("depth", "GLPN", "GLPN", {}, _glpn),
    "beit": ("segmentation", "Beit", "Beit", SQUARE, lambda: BEIT),
    "data2vec-vision": ("segmentation", "Data2VecVision", "Beit", SQUARE, lambda: BEIT),
    "mobilevit": ("segmentation", "MobileViT", "MobileViT", UNCROPPED, _mobilevit),
    "mobilevitv2": ("segmentation", "MobileViTV2", "MobileViT", UNCROPPED, lambda: {**ATROUS, **MOBILE}),
    "upernet": ("segmentation", "UperNet", "Segformer", SQUARE, lambda: {**UPERNET, "backbone_config": _swin()}),
    "maskformer": ("instances", "MaskFormer", "MaskFormer", EDGE, _maskformer),
    "detr": ("boxes", "Detr", "Detr", EDGE, lambda: {**DETR, "backbone_config": _resnet()}),
    "conditional_detr": (
        *("boxes", "ConditionalDetr", "ConditionalDetr", EDGE),
        lambda: {**DETR, "backbone_config": _resnet()},
    ),
    "deformable_detr": (
        *("boxes", "DeformableDetr", "DeformableDetr", EDGE),
        lambda: {**DETR, "decoder_layers": 2, "backbone_config": _resnet(), "num_feature_levels": 3},
    ),
    "rt_detr": ("boxes", "RTDetr", "RTDetr", SQUARE, lambda: {**RT_DETR, "backbone_config": _rt_resnet()}),
    "rt_detr_v2": ("boxes", "RTDetrV2", "RTDetr", SQUARE, lambda: {**RT_DETR, "backbone_config": _rt_resnet()}),
}
"""Architecture -> slot, names of its network and of its processor, options of that, its configuration."""
TASKS = {
    "depth": "DepthEstimation",
    "segmentation": "SemanticSegmentation",
    "instances": "InstanceSegmentation",
    "boxes": "ObjectDetection",
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", NETWORKS)
def test_an_architecture_answers_for_each_picture_alone_and_together(architecture, images, tmp_path):
    slot, network, processor, options, config = NETWORKS[architecture]
    torch.manual_seed(0)
    opener = getattr(transformers, f"{network}For{TASKS[slot]}")
    model = opener(opener.config_class(**config(), **({} if slot == "depth" else CLASSES)))
    at = write_network(
        tmp_path / architecture, model, getattr(transformers, f"{processor}ImageProcessorPil")(**options)
    )
    large = [np.concatenate([image, image[::-1]]) for image in images]  # GLPN needs 32 pixels
    large = [np.concatenate([image, image[:, ::-1]], axis=1) for image in large]
    annotator = load_annotator(f"{slot}=hf:{at}" + (",threshold=0" if slot in ("boxes", "instances") else ""))
    assert annotator.network.architecture == architecture
    for image, told in zip(large, annotator.annotate(large), strict=True):
        (alone,) = annotator.annotate([image])
        if slot == "boxes":
            assert len(told.ids) and told.size == image.shape[:2]
            assert ((told.corners >= 0) & (told.corners <= np.array(image.shape[1::-1] * 2))).all()
            np.testing.assert_allclose(alone.corners, told.corners, atol=0.1)
        elif slot == "depth":
            assert told.meters.shape == image.shape[:2]
            np.testing.assert_allclose(alone.meters, told.meters, rtol=1e-3)
        else:
            assert told.ids.shape == image.shape[:2] and told.ids.any()
            assert (alone.ids == told.ids).mean() > 0.99


def test_every_architecture_is_tested():
    named = {
        *depth.ARCHITECTURES, *segmentation.UNIVERSAL, *segmentation.SEMANTIC, *detection.ARCHITECTURES,
        *pose.ARCHITECTURES,
    }  # fmt: skip
    assert named == {*NETWORKS, *TESTED_ELSEWHERE}
