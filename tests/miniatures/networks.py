"""Tiny networks of transformers with random weights, written as folders in the official layout.

Seeds are those whose answers are not the same everywhere.
"""

from pathlib import Path
from typing import Any

import torch

COCO_LABELS = {0: "N/A", 1: "person", 2: "bicycle", 3: "car"}
ADE_LABELS = {0: "wall", 1: "building", 2: "sky", 3: "floor"}


def write_network(at: Path, model: Any, processor: Any, *, gain: float = 1.5) -> Path:
    """Save a network with its preparation of pictures; returns the folder.

    Args:
        gain: of the random weights; as initialized, answers hardly depend on the picture.
    """
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)
    model.eval().save_pretrained(at)
    processor.save_pretrained(at)
    return at


def _vit(num_layers: int = 2, **more: Any) -> dict[str, Any]:
    return dict(hidden_size=16, num_hidden_layers=num_layers, num_attention_heads=2, intermediate_size=32, **more)


def dpt(at: Path, *, seed: int = 0) -> Path:
    """DPT on pictures squashed to 32 x 32: inverse depth."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    torch.manual_seed(seed)
    config = DPTConfig(
        **_vit(num_layers=4, image_size=32, patch_size=8, is_hybrid=False, backbone_out_indices=[0, 1, 2, 3]),
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip
    return write_network(at, DPTForDepthEstimation(config), DPTImageProcessorPil(size={"height": 32, "width": 32}))


def depth_anything(at: Path, *, seed: int = 0) -> Path:
    """Depth Anything in meters up to 20, on pictures whose sides keep their ratio."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessorPil

    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, head_hidden_size=4,
        depth_estimation_type="metric", max_depth=20,
    )  # fmt: skip
    processor = DPTImageProcessorPil(
        size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14, do_pad=False
    )
    return write_network(at, DepthAnythingForDepthEstimation(config), processor)


def segformer(at: Path, *, labels: dict[int, str] = ADE_LABELS, seed: int = 3) -> Path:
    """SegFormer of a few classes."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

    torch.manual_seed(seed)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8,
        id2label=labels, label2id={name: number for number, name in labels.items()}, initializer_range=0.5,
    )  # fmt: skip
    processor = SegformerImageProcessorPil(size={"height": 32, "width": 32})
    return write_network(at, SegformerForSemanticSegmentation(config), processor)


def mask2former(at: Path, *, labels: dict[int, str] = ADE_LABELS, seed: int = 1) -> Path:
    """Mask2Former with 6 queries."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessorPil,
        SwinConfig,
    )

    torch.manual_seed(seed)
    backbone = SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2, image_size=32, patch_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, feature_size=32, mask_feature_size=32, encoder_layers=2,
        decoder_layers=2, num_attention_heads=2, dim_feedforward=16, encoder_feedforward_dim=16, num_queries=6,
        id2label=labels, label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    processor = Mask2FormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}, num_labels=len(labels))
    return write_network(at, Mask2FormerForUniversalSegmentation(config), processor)


def yolos(at: Path, *, labels: dict[int, str] = COCO_LABELS, seed: int = 0) -> Path:
    """YOLOS with 8 queries."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

    torch.manual_seed(seed)
    config = YolosConfig(
        **_vit(image_size=[32, 32], patch_size=8), num_detection_tokens=8,
        id2label=labels, label2id={name: number for number, name in labels.items()}, initializer_range=0.5,
    )  # fmt: skip
    processor = YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})
    return write_network(at, YolosForObjectDetection(config), processor)


def vitpose(at: Path, *, num_experts: int = 1, num_joints: int = 17, seed: int = 0) -> Path:
    """ViTPose, or ViTPose+ with experts."""
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation, VitPoseImageProcessorPil

    torch.manual_seed(seed)
    backbone = VitPoseBackboneConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=[32, 32], patch_size=[8, 8],
        num_experts=num_experts, part_features=4 if num_experts > 1 else 0, out_features=["stage2"],
    )  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=num_joints, use_simple_decoder=True)
    processor = VitPoseImageProcessorPil(size={"height": 32, "width": 32})
    return write_network(at, VitPoseForPoseEstimation(config), processor, gain=0.5)
