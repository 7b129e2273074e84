"""Rows of pictures: LAION, ImageNet and COCO, alone and with what models say of them; scenes with ground truth."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from openlvm.sources.catalog.row import Row
from openlvm.sources.layouts import ClassFolders, ImageFolder
from openlvm.sources.official.listed.edits import EditedPictures
from openlvm.sources.official.listed.folds import NUM_FOLDS, PascalFold
from openlvm.sources.official.listed.imagenet import ImageNetValidation
from openlvm.sources.official.listed.nyu import NyuDepth
from openlvm.sources.official.matched import MatchedFiles
from openlvm.sources.official.tars import Tars

_MMSEG = "https://mmsegmentation.readthedocs.io/en/latest/user_guides/2_dataset_prepare.html"

_LAION = Row(
    name="laion",
    dataset="LAION-5B, a subset of 1.49 billion pictures",
    sentence="single",
    tokens=380_690.0,
    licence="links under CC-BY 4.0, each picture under its owner's terms; take the version cleaned by Re-LAION",
    home="https://laion.ai/blog/laion-5b/",
    layout="""
00000.tar, 00001.tar, ...           as img2dataset writes them (webdataset), in each
  000000000.jpg, .json, .txt, ...   pictures may be .png or .webp""",
    layout_source="https://github.com/rom1504/img2dataset/blob/main/README.md",
    splits={"train": lambda at: Tars(at=at)},
)
_LAION400M = replace(
    _LAION,
    name="laion400m",
    dataset="LAION-400M",
    tokens=None,
    paper="DeLVM",
    home="https://laion.ai/blog/laion-400-open-dataset/",
)

_IMAGENET = Row(
    name="imagenet",
    dataset="ImageNet-1k (ILSVRC 2012)",
    sentence="category",
    annotation="class",
    annotated_by="ground truth",
    tokens=1317.40,
    licence="non-commercial research and education, by agreement",
    home="https://www.image-net.org/challenges/LSVRC/2012/",
    layout="""
train/n01440764/n01440764_10026.JPEG, ...
val/ILSVRC2012_val_00000001.JPEG, ...      with ILSVRC2012_devkit_t12/data/ beside val/, or sorted into
val/n01751748/ILSVRC2012_val_....JPEG      class folders""",
    layout_source="https://docs.pytorch.org/vision/stable/_modules/torchvision/datasets/imagenet.html",
    splits={"train": lambda at: ClassFolders(at=at / "train"), "val": lambda at: ImageNetValidation(at=at)},
    promised={"train": 1_281_167, "val": 50_000},
)
_IMAGENET_PAIRS = replace(_IMAGENET, sentence="pairs", annotated_by="generated", tokens=1321.07)
_COCO = replace(
    _IMAGENET_PAIRS,
    dataset="COCO 2017",
    licence="annotations CC-BY 4.0; pictures under their owners' terms at Flickr",
    home="https://cocodataset.org",
    layout="""
train2017/000000000009.jpg, ...
val2017/000000000139.jpg, ...""",
    layout_source="https://mmdetection.readthedocs.io/en/latest/user_guides/dataset_prepare.html",
    splits={"train": lambda at: ImageFolder(at=at / "train2017"), "val": lambda at: ImageFolder(at=at / "val2017")},
    promised={"train": 118_287, "val": 5_000},
)


def _annotated(
    annotation: str, model: str, tokens: float, names: tuple[str, str], **made: tuple[str, ...]
) -> list[Row]:
    """The rows of COCO's and of ImageNet's pictures, whose annotations are made when they are tokenized."""
    return [
        replace(
            base, name=name, annotation=annotation, annotated_by=model, tokens=tokens, tokens_shared=other,
            annotators=made.get("annotators", ()), generated=made.get("generated", ()),
            styles={"depth": "inverse"} if annotation == "depth" else {},  # DPT's own is linear in 1 / depth
        )
        for base, name, other in ((_COCO, names[0], names[1]), (_IMAGENET_PAIRS, names[1], names[0]))
    ]  # fmt: skip


_ANNOTATED = (
    *_annotated(
        "semantic segmentation", "Mask2Former", 2078.06, ("coco_segmentation_m2f", "imagenet_segmentation"),
        annotators=("segmentation=hf:facebook/mask2former-swin-large-coco-panoptic",),
    ),
    *_annotated(
        "depth", "DPT", 1623.85, ("coco_depth", "imagenet_depth"),
        annotators=("depth=hf:Intel/dpt-large",),
    ),
    *_annotated(  # no package has NLL-AngMF: normals of the depth instead
        "surface normals", "normals of DPT's depth (LVM: NLL-AngMF)", 1623.85, ("coco_normals", "imagenet_normals"),
        annotators=("normals=depth:hf:Intel/dpt-large",),
    ),
    *_annotated(  # no package has DexiNed: contours instead; --annotators edges=hed:FILE is a network
        "edges", "contours (LVM: DexiNed)", 1623.85, ("coco_edges", "imagenet_edges"), generated=("edges",)
    ),
)  # fmt: skip


def _two_folders(pictures: str, classes: str, kind: str) -> Callable[[Path], MatchedFiles]:
    files = {"image": pictures, "segmentation": classes}
    return lambda at: MatchedFiles(at=at, files=files, kinds={"segmentation": kind})


_ADE20K = Row(
    name="ade20k",
    dataset="ADE20K scene parsing (150 classes)",
    sentence="pairs",
    annotation="semantic segmentation",
    annotated_by="ground truth",
    tokens=66.88,
    tokens_shared="cityscapes",
    licence="BSD-3-Clause for annotations; pictures for research and education",
    home="http://sceneparsing.csail.mit.edu",
    layout="""
images/training/ADE_train_00000001.jpg, ...      images/validation/ADE_val_00000001.jpg, ...
annotations/training/ADE_train_00000001.png, ... annotations/validation/...   1..150; 0 is not labelled""",
    layout_source=_MMSEG,
    splits={
        split: _two_folders(f"images/{folder}/{{name}}.jpg", f"annotations/{folder}/{{name}}.png", "ade20k")
        for split, folder in {"train": "training", "val": "validation"}.items()
    },
    promised={"train": 20_210, "val": 2_000},
)


def _cityscapes(split: str) -> Callable[[Path], MatchedFiles]:
    truth = f"gtFine/{split}/{{city}}/{{frame}}_gtFine"
    return lambda at: MatchedFiles(
        at=at,
        files={
            "image": f"leftImg8bit/{split}/{{city}}/{{frame}}_leftImg8bit.png",
            "segmentation": f"{truth}_labelIds.png",
            "instances": f"{truth}_instanceIds.png",
        },
        kinds={"segmentation": "cityscapes", "instances": "cityscapes_instances"},
    )


_CITYSCAPES = replace(
    _ADE20K,
    name="cityscapes",
    dataset="Cityscapes, fine annotations",
    tokens_shared="ade20k",
    licence="non-commercial research, by registration",
    home="https://www.cityscapes-dataset.com",
    layout="""
leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png, ...
gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png, ..._gtFine_instanceIds.png, ...; val the same.
Ids become 1..19 (trainId + 1); classes that the benchmark ignores are not labelled""",
    layout_source="https://github.com/mcordts/cityscapesScripts/blob/master/README.md",
    splits={split: _cityscapes(split) for split in ("train", "val")},
    promised={"train": 2_975, "val": 500},
)

_INSTRUCT_PIX2PIX = Row(
    name="instruct_pix2pix",
    dataset="InstructPix2Pix (clip-filtered-dataset)",
    sentence="pairs",
    annotation="edited picture",
    annotated_by="Prompt-to-Prompt, by the publisher",
    tokens=415.46,
    licence="research; pictures were generated by Stable Diffusion (CreativeML OpenRAIL-M)",
    home="https://github.com/timothybrooks/instruct-pix2pix",
    layout="""
seeds.json                          [["0000000", ["1234", ...]], ...]; train, val, test are 90, 5, 5 hundredths of it
0000000/1234_0.jpg, 1234_1.jpg      before and after; the label is the instruction
0000000/prompt.json""",
    layout_source="https://github.com/timothybrooks/instruct-pix2pix/blob/main/edit_dataset.py",
    splits={
        "train": lambda at: EditedPictures(at=at, split="train"),
        "val": lambda at: EditedPictures(at=at, split="val"),
        "test": lambda at: EditedPictures(at=at, split="test"),
    },
)


def _kitti(folder: str, truth: dict[str, str]) -> Callable[[Path], MatchedFiles]:
    pair = {"image": f"{folder}/image_2/{{scene}}_10.png", "right": f"{folder}/image_3/{{scene}}_10.png"}
    return lambda at: MatchedFiles(at=at, files=pair | truth, kinds={slot: slot for slot in truth})


_KITTI = Row(
    name="kitti_stereo",
    dataset="KITTI stereo 2015",
    sentence="free_form",
    annotation="disparity, second view",
    annotated_by="ground truth",
    tokens=9.21,
    licence="CC-BY-NC-SA 3.0",
    home="https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php?benchmark=stereo",
    layout="""
training/image_2/000000_10.png (left), training/image_3/000000_10.png (right)
training/disp_occ_0/000000_10.png         16 bits: 256 times the shift in pixels, 0 unknown
testing/image_2/, testing/image_3/        without truth""",
    layout_source="https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.Kitti2015Stereo.html",
    splits={
        "train": _kitti("training", {"disparity": "training/disp_occ_0/{scene}_10.png"}),
        "test": _kitti("testing", {}),
    },
    promised={"train": 200, "test": 200},
)

_KITTI_FLOW = replace(
    _KITTI,
    name="kitti_scene_flow",
    dataset="KITTI scene flow 2015",
    annotation="disparity, flow, next frame, second view",
    tokens=None,
    home="https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php",
    layout="""
training/image_2/000000_10.png, 000000_11.png (left, two moments), training/image_3/ (right)
training/disp_occ_0/000000_10.png         16 bits: 256 times the shift in pixels, 0 unknown
training/flow_occ/000000_10.png           16 bits: 64 times the motion, plus 2^15; blue 0 is unknown""",
    layout_source="https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.KittiFlow.html",
    splits={
        "train": lambda at: MatchedFiles(
            at=at,
            files={
                "image": "training/image_2/{scene}_10.png",
                "right": "training/image_3/{scene}_10.png",
                "next_frame": "training/image_2/{scene}_11.png",
                "disparity": "training/disp_occ_0/{scene}_10.png",
                "flow": "training/flow_occ/{scene}_10.png",
            },
            kinds={"disparity": "disparity", "flow": "kitti_flow"},
        ),
    },
    promised={"train": 200},
)


def _voc(split: str) -> Callable[[Path], MatchedFiles]:
    root = "VOCdevkit/VOC2012"
    return lambda at: MatchedFiles(
        at=at,
        files={
            "image": f"{root}/JPEGImages/{{name}}.jpg",
            "segmentation": f"{root}/SegmentationClass/{{name}}.png",
            "instances": f"{root}/SegmentationObject/{{name}}.png",
        },
        kinds={"segmentation": "voc", "instances": "voc_instances"},
        keys_file=f"{root}/ImageSets/Segmentation/{split}.txt",
    )


_VOC2012 = Row(
    name="voc2012_segmentation",
    dataset="Pascal VOC 2012 segmentation",
    sentence="pairs",
    annotation="semantic segmentation, instances",
    annotated_by="ground truth",
    paper="evaluation",
    licence="pictures under their owners' terms at Flickr",
    home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    layout="""
VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg, ...
VOCdevkit/VOC2012/SegmentationClass/2007_000032.png, SegmentationObject/2007_000032.png, ...   palette indices
VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt, val.txt""",
    layout_source=_MMSEG,
    splits={split: _voc(split) for split in ("train", "val")},
    promised={"train": 1_464, "val": 1_449},
)


def _fold(fold: int) -> Callable[[Path], PascalFold]:
    return lambda at: PascalFold(at=at, fold=fold)


_PASCAL5I = replace(
    _VOC2012,
    name="pascal5i",
    dataset="Pascal-5i: few-shot foreground segmentation",
    annotation="mask of one class",
    layout="""
VOCdevkit/VOC2012/JPEGImages/, VOCdevkit/VOC2012/SegmentationClassAug/   gray ids, 255 outlines
splits/pascal/val/fold0.txt, ... fold3.txt                               lines such as 2007_000033__01""",
    layout_source="https://github.com/amirbar/visual_prompting/blob/main/evaluate/pascal_dataloader.py",
    splits={f"fold{fold}": _fold(fold) for fold in range(NUM_FOLDS)},
    promised={"fold0": 346, "fold1": 451, "fold2": 725, "fold3": 346},
)

_NYUV2 = Row(
    name="nyuv2",
    dataset="NYU Depth v2, labelled",
    sentence="pairs",
    annotation="depth",
    annotated_by="ground truth",
    paper="evaluation",
    licence="none stated; research",
    home="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
    layout="""
nyu_depth_v2_labeled.mat     1449 pictures of 640 x 480 with depth (MATLAB 7.3)
splits.mat                   trainNdxs, testNdxs""",
    layout_source="https://github.com/cleinc/bts/blob/master/utils/extract_official_train_test_set_from_mat.py",
    splits={"train": lambda at: NyuDepth(at=at, split="train"), "test": lambda at: NyuDepth(at=at, split="test")},
    promised={"train": 795, "test": 654},
)

PICTURES: tuple[Row, ...] = (
    _LAION,
    _IMAGENET,
    _ADE20K,
    _CITYSCAPES,
    *_ANNOTATED,
    _INSTRUCT_PIX2PIX,
    replace(_IMAGENET_PAIRS, name="imagenet_colorization", annotation="gray copy, to be colored", generated=("gray",)),
    replace(
        _IMAGENET_PAIRS, name="imagenet_inpainting", annotation="copy with holes, to be filled", generated=("holes",)
    ),
    _KITTI,
    _KITTI_FLOW,
    _LAION400M,
    _VOC2012,
    _PASCAL5I,
    _NYUV2,
)
