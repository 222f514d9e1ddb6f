"""Track files of other tools: what is certain is read, what is ambiguous is an error, what is left out is counted."""

from __future__ import annotations

import pytest
from PIL import Image

from stmga.tracklets.mot import read_mot
from stmga.tracklets.tracklet import TrackletError

BOX = (2.0, 3.0, 10.0, 20.0)
SUPERVISION = "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,frame_index"
KITTI = "{} {} {} 0 0 -1.57 2 3 12 23 1.7 0.6 0.9 1.8 1.5 8.4 0.01"


@pytest.fixture
def read(tmp_path, caplog):
    """Write a track file, read it over 20 frames of 32 x 64; {track: [(frame from 1, box)]} and what was logged."""
    (tmp_path / "img").mkdir()
    for n in range(1, 21):
        Image.new("RGB", (32, 64)).save(tmp_path / "img" / f"{n:06d}.png")

    def call(*lines, encoding="utf-8", **options):
        (tmp_path / "t.txt").write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
        caplog.clear()
        tracklets = read_mot(tmp_path / "t.txt", tmp_path / "img", **options)
        found = {t.id: [(int(f.file.stem), f.box) for f in t.frames] for t in tracklets}
        return found, [record.getMessage().removeprefix(f"{tmp_path / 't.txt'}: ") for record in caplog.records]

    return call


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "lines",
    [
        ["1,7,2,3,10,20,0.9,-1,-1,-1", "2,7,2,3,10,20,0.9,-1,-1,-1"],
        ["1;7;2,0;3,0;10,0;20,0;0,9", "2;7;2,0;3,0;10,0;20,0;0,9"],
        ["1\t7\t2\t3\t10\t20", "2\t7\t2\t3\t10\t20"],
        ["1 7 2 3 10 20 0.9", "2 7 2 3 10 20 0.9"],
        ["1.000e+00,7.000e+00,2,3,1.0e+01,20,1", "2.0e+00,7.0e+00,2,3,10,20,1"],
        ["frame,id,x,y,w,h,conf", "1,7,2,3,10,20,0.9", "2,7,2,3,10,20,0.9"],
        ["# frame, id, x, y, w, h", "1,7,2,3,10,20,0.9", "2,7,2,3,10,20,0.9"],
        ["Frame;Track ID;BB left;BB top;BB width;BB height", "1;7;2;3;10;20", "2;7;2;3;10;20"],
        ['"frame","id","bb_left","bb_top","bb_width","bb_height"', '"1","7","2","3","10","20"', "2,7,2,3,10,20"],
        ["track_id,frame_id,x1,y1,x2,y2", "7,1,2,3,12,23", "7,2,2,3,12,23"],
        ["id,frame,xc,yc,w,h", "7,1,7,13,10,20", "7,2,7,13,10,20"],
        [SUPERVISION, "2,3,12,23,0,0.9,7,0", "2,3,12,23,0,0.9,7,1"],
        [KITTI.format(0, 7, "Pedestrian"), KITTI.format(1, 7, "Pedestrian")],
        [KITTI.format(0, 7, "Cyclist") + " 0.8", KITTI.format(1, 7, "Cyclist") + " 0.8"],
        ["1,7,2,3,10,20,1,4,0,2", "2,7,2,3,10,20,1,4,0,1"],  # VisDrone
        ["41 7 1 2 3 10 20 -1.5 80.2", "41 7 2 2 3 10 20 -1.5 80.2"],  # AI City
    ],
)
def test_formats_whose_columns_are_certain(read, lines, encoding):
    found, said = read(*lines, encoding=encoding)
    (boxes,) = found.values()
    assert boxes == [(1, BOX), (2, BOX)]
    assert said == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["1 7 12 2 3 10 20 -1.5 80.2"], 'pass columns="frame,id,x,y,w,h,confidence" or columns="camera,id,frame'),
        (["1,7,2,3,10,20,87,1,-1", "2,7,2,3,10,20,92,1,-1"], "it could be MOT's confidence or AI City's height"),
        (
            ["x_min,y_min,x_max,y_max,class_id,confidence,tracker_id", "2,3,12,23,0,0.9,7"],
            'custom_data={"frame_index": i}',
        ),
        (["frame,id,a,b,c,d", "1,7,2,3,10,20"], "no column for the box"),
        (["frame,track_id,tracker_id,x,y,w,h", "1,7,8,2,3,10,20"], "two columns for the id: track_id, tracker_id"),
        ([SUPERVISION, "2,3,12,23,0,0.9,,0"], "no tracker has assigned to a person; run a tracker first"),
        (["1,18446744073709551615,2,3,10,20,1"], "run a tracker first"),
        (["1,4.611686018427388e18,2,3,10,20,1"], "has lost digits: write it as an integer"),
        (["1,1_0,2,3,10,20,1"], "expected numbers"),
        (["frame,id,x1,y1,x2,y2", "1,7,12,3,2,23"], "x2 > x1"),
        (["1,7,0.1,0.2,0.1,0.4,0.9", "2,7,0.1,0.2,1.0,0.4,0.9"], "all boxes are less than a pixel"),
        (["1,7,2,3,10,20,1", "2,7,0.1,0.2,1.0,0.4,0.9"], "are the boxes shares of the frame (normalised)?"),
        (["1,1,2,2,10,20,0", "2,1,2,2,10,20,0.0"], "all 2 lines have confidence 0"),
        (["1,7,40,3,10,20", "2,7,50,3,10,20", "3,7,2,3,10,20"], "2 of 3 boxes are outside their frames"),
        (["\0\0\0\0"], "is not a text file"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_an_error_that_says_what_to_do(read, lines, words):
    with pytest.raises(TrackletError) as caught:
        read(*lines)
    assert words in str(caught.value)


def test_columns_named_by_the_user(read):
    line = "1 7 12 2 3 10 20 -1.5 80.2"
    assert read(line, columns="camera,id,frame,x,y,w,h")[0] == {"1-7": [(12, BOX)]}
    assert read("1,7,2,3,12,23,0", columns="frame,id,x1,y1,x2,y2")[0] == {"t-7": [(1, BOX)]}  # without its confidence
    with pytest.raises(ValueError, match=r"columns: no column for the id.*write for example"):
        read(line, columns="frame,x,y,w,h")


def test_ids_are_integers_of_any_size(read):
    found, _ = read(*(f"{n},{2**62 + n // 3},2,3,10,20,0.9" for n in range(1, 6)))
    assert {name: len(boxes) for name, boxes in found.items()} == {f"t-{2**62}": 2, f"t-{2**62 + 1}": 3}
    assert list(read(f"1,{2**100},2,3,10,20", f"1,{2**100 + 1},2,3,10,20")[0]) == [f"t-{2**100}", f"t-{2**100 + 1}"]


def test_classes_are_chosen_and_several_are_said(read):
    lines = ["1,3,2,3,10,20,1,1,1.0", "2,3,2,3,10,20,1,1,1.0", "1,4,2,3,10,20,1,3,1.0", "1,9,2,3,10,20,1,7,0.2"]
    found, said = read(*lines)
    assert len(found) == 3
    assert said == ["3 classes, all read as persons: 1 (2), 3 (1), 7 (1); choose with classes="]
    found, said = read(*lines, classes=[1, "7"])
    assert list(found) == ["t-3", "t-9"]
    assert said == ["left out: 1 line of class 3"]
    with pytest.raises(TrackletError, match=r"no line has class 2; it has 1, 3, 7"):
        read(*lines, classes=2)
    with pytest.raises(TrackletError, match="no column of classes"):
        read("1,3,2,3,10,20,1,-1,-1,-1", classes=[1])
    found, said = read(*(KITTI.format(0, n, kind) for n, kind in ((1, "Car"), (2, "Pedestrian"), (-1, "DontCare"))))
    assert list(found) == ["t-1", "t-2"]
    assert said[-1] == "left out: 1 region to ignore (DontCare)"
    assert list(read(KITTI.format(0, 1, "Car"), KITTI.format(0, 2, "Pedestrian"), classes="pedestrian")[0]) == ["t-2"]


def test_places_in_the_world_are_not_classes(read):
    found, said = read("1,3,2,3,10,20,1,5,80,0", "1,4,2,3,10,20,1,6,81,0")
    assert (len(found), said) == (2, [])


@pytest.mark.parametrize("check_files", [True, False])
def test_one_box_outside_costs_its_frame_and_not_the_track(read, check_files):
    lines = [f"{n},1,2,3,10,20,0.9" for n in range(1, 9)] + ["9,1,-500,2,10,20,0.9", "1,2,33,2,10,20", "2,2,2,3,10,20"]
    found, said = read(*lines, check_files=check_files)
    assert found == {"t-1": [(n, BOX) for n in range(1, 9)], "t-2": [(2, BOX)]}
    assert said == ["left out: 2 frames with a box outside the image"]


def test_all_that_is_left_out_stands_in_one_line(read):
    found, said = read(
        "// made by hand", "1,1,2,3,10,20,1", "2,1,2,3,10,20,0", "1,2,-40,3,10,20,1", "2,1,2,3,10,20,1", min_frames=2
    )
    assert found == {"t-1": [(1, BOX), (2, BOX)]}
    assert said == [
        "left out: 1 comment, 1 line with confidence 0, 1 frame with a box outside the image, "
        "1 track with fewer than 2 frames"
    ]


def test_a_file_of_several_cameras_is_read_for_one(read):
    lines = ["camera,frame,id,x,y,w,h", "c1,1,7,2,3,10,20", "c1,2,7,2,3,10,20", "c2,1,7,2,3,10,20"]
    found, said = read(*lines, camera="c2")
    assert found == {"c2-7": [(1, BOX)]}
    assert said == ["left out: 2 lines of other cameras"]
    with pytest.raises(TrackletError, match=r"has cameras c1, c2, got camera=None; pass the one of these frames"):
        read(*lines)


def test_the_first_frame_of_a_column_named_index_is_0(read, tmp_path):
    """Over a video the number decides; over images that begin at 1 the first is the first."""
    lines = [SUPERVISION, "2,3,12,23,0,0.9,7,4"]
    assert read(*lines)[0] == {"t-7": [(5, BOX)]}
    assert read(*lines, first_index=1)[0] == {"t-7": [(4, BOX)]}


def test_corners_without_a_header_are_an_error_whose_advice_works(read):
    lines = [f"{n},7,{n},{10 + n},{14 + n},{44 + n},0.9" for n in range(9, 17)]  # x1,y1,x2,y2 in 32 x 64
    with pytest.raises(TrackletError, match=r"probably corners, x1,y1,x2,y2: .* 8 of 8 end outside") as caught:
        read(*lines)
    assert len(caught.value.faults) == 1
    found, said = read(*lines, columns="frame,id,x1,y1,x2,y2,confidence")
    assert found == {"t-7": [(n, (n, 10 + n, 14, 34)) for n in range(9, 17)]}
    assert said == []
    found, _ = read(*lines, columns="frame,id,x,y,w,h,confidence")
    assert found["t-7"][0] == (9, (9, 19, 23, 53))


@pytest.mark.parametrize(
    "boxes",
    [
        ["2,3,28,60", "3,4,29,60"],  # close to the camera: the ends are just outside
        ["20,3,14,60", "4,5,28,70"],  # wider than its left edge only once: not corners
    ],
)
def test_large_boxes_are_not_taken_for_corners(read, boxes):
    found, _ = read(*(f"{n},7,{box},0.9" for n, box in enumerate(boxes, 1)))
    assert [box for _, box in found["t-7"]] == [tuple(map(float, box.split(","))) for box in boxes]


def test_kitti_corners_are_certain(read):
    line = "{} 7 Pedestrian 0 0 -1.57 2 3 31 63 1.7 0.6 0.9 1.8 1.5 8.4 0.01"
    found, _ = read(line.format(0), line.format(1))
    assert found == {"t-7": [(1, (2, 3, 29, 60)), (2, (2, 3, 29, 60))]}
