"""Detectors by name: torchvision's with weights from the disk, RF-DETR, and what is chosen by default."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stmga.people.boxes import DetectorError
from stmga.people.detectors import Detectors
from stmga.people.sources import Source
from stmga.people.torchvision_detector import BEST, TorchvisionDetector, on_disk, weight_file
from tests.support.street import EMPTY

NAME = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder of weights; nothing can be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def offline(*args, **kwargs):
        from urllib.error import URLError

        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    return tmp_path


def test_offline_the_error_says_which_file_to_put_where(hub):
    with pytest.raises(OSError, match=rf"put https://.*{NAME}.*\.pth at {hub}/hub/checkpoints/{NAME}"):
        TorchvisionDetector(NAME)


def test_by_default_motion_is_chosen_and_says_so(hub):
    detectors = Detectors()
    assert detectors.name == "motion" and "no weights of a detector are on this disk" in detectors.notice


def test_weights_on_the_disk_are_the_default_and_find_persons(hub):
    """Random weights, but for a class head that calls every region a person."""
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.get_model(NAME, weights=None, weights_backbone=None)
    head = model.roi_heads.box_predictor
    torch.nn.init.zeros_(head.cls_score.weight)
    head.cls_score.bias.data = torch.zeros(91).index_fill_(0, torch.tensor(1), 9.0)
    file, _ = weight_file(NAME)
    file.parent.mkdir(parents=True)
    torch.save(model.state_dict(), file)
    assert on_disk() == NAME and NAME in BEST
    detectors = Detectors()
    assert detectors.name == f"torchvision:{NAME}" and detectors.notice
    boxes, scores = detectors.of(Source("a", "a.mp4"), 25)(EMPTY)
    assert boxes.shape == (len(scores), 4) and len(scores) > 0
    assert scores.min() > 0.9 and boxes.min() >= 0 and boxes[:, 2].max() <= 160


def test_rfdetr_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rfdetr", None)
    with pytest.raises(ImportError, match=r"stmga\[rfdetr\]"):
        Detectors("rfdetr")


@pytest.mark.parametrize("named", [True, False])
def test_of_rfdetr_only_persons_count(monkeypatch, named):
    """Against a stand-in with the interface of the library: numbers of COCO with gaps, and names beside them."""
    supervision = pytest.importorskip("supervision")

    class Nano:
        def __init__(self, device):
            assert device == "cpu"

        def predict(self, frame, threshold):
            assert frame.shape == EMPTY.shape and threshold < 0.5
            boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
            data = {"class_name": np.array(["car", "person"], dtype=object)} if named else {}
            return supervision.Detections(boxes, confidence=np.array([0.9, 0.8]), class_id=np.array([3, 1]), data=data)

    monkeypatch.setitem(sys.modules, "rfdetr", SimpleNamespace(RFDETRNano=Nano))
    detector = Detectors("rfdetr").of(Source("a", "a.mp4"), 25)
    if named:
        boxes, scores = detector(EMPTY)
        assert boxes.tolist() == [[5, 6, 7, 8]] and scores.tolist() == [0.8]
    else:  # person is 1 in COCO's numbers and 0 in the library's list of names: never guessed
        with pytest.raises(DetectorError, match="no names of classes"):
            detector(EMPTY)
