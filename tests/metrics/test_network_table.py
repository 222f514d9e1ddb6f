"""The table of networks in Python, and the places of labels in its picture."""

from dataclasses import replace
from itertools import combinations

import pytest

from stmga.data.walkers.generate import walkers_benchmark
from stmga.embedding.cost import Cost
from stmga.metrics import Protocol, evaluate_networks
from stmga.metrics.cost_picture import Point, cost_picture
from stmga.utils.drawing import Dot, Text, log_ticks, shortened, text_width, ticks
from tests.embedding.test_network import MeanColour


@pytest.fixture(scope="module", name="walkers")
def walkers_fixture():
    return walkers_benchmark(0, 4, cameras=2, tracklets=1, frames=2, size=(64, 32))


def test_a_network_of_ones_own_and_what_is_unknown_of_it(walkers):
    table = evaluate_networks({"colour": MeanColour()}, [walkers], speed=False)
    (row,) = table.rows
    assert (row.cost, row.clip, row.speed) == (Cost(None, 0.0, None), (2, 16, 16), None)
    assert row.evaluation.model == "colour"
    assert str(table).splitlines()[1].split()[3:] == ["2", "x", "16", "x", "16", "-", "0.0", "-"]
    assert table.to_dict()["measured"] == {}
    with pytest.raises(ValueError, match="the GMAC of no network are known: colour"):
        table.picture()


def test_a_set_without_a_protocol_or_a_test_is_refused(walkers):
    networks = {"colour": MeanColour()}
    with pytest.raises(ValueError, match=r"walkers.* has no protocol, so its scores would mean nothing"):
        evaluate_networks(networks, [replace(walkers, protocol=None)])
    with pytest.raises(ValueError, match="list has no protocol"):
        evaluate_networks(networks, [walkers.query])
    with pytest.raises(ValueError, match="has no test: 0 queries"):
        evaluate_networks(networks, [replace(walkers, query=[])])
    with pytest.raises(ValueError, match=r"has no test: \d+ queries, 0 gallery"):
        evaluate_networks(networks, [replace(walkers, gallery=[], protocol=Protocol(queries_in_gallery=False))])
    with pytest.raises(ValueError, match="two data sets are called"):
        evaluate_networks(networks, [walkers, walkers])
    with pytest.raises(ValueError, match="there is no data set"):
        evaluate_networks(networks, [])
    with pytest.raises(ValueError, match="there is no network"):
        evaluate_networks({}, [walkers])


CROWDED = [
    Point("stmga_resnet18_c4.market_cuhk03_256", 7.4, 61.0),
    Point("stmga_resnet18_c4_baseline.market_cuhk03", 7.3, 60.8),
    Point("stmga_resnet50_c4.market_cuhk03", 27.1, 71.2),
    Point("torchvision:resnet50:layer3, imagenet", 27.0, 71.0),
    Point("resnet18-layer3.onnx", 7.35, 61.1),
    Point("x" * 90, 7.36, 61.2),
]


@pytest.mark.parametrize("points", [CROWDED, CROWDED[:1], [*CROWDED, Point("tiny", 0.1, 20.0)]])
def test_labels_overlap_neither_each_other_nor_a_point_and_stay_on_the_page(points):
    page = cost_picture({"mars8-dev": points, "walkers": points[::-1]}, note="a note")
    dots = [shape for shape in page.shapes if isinstance(shape, Dot)]
    labels = [
        shape for shape in page.shapes if isinstance(shape, Text) and shape.colour in {dot.colour for dot in dots}
    ]
    assert len(dots) == len(labels) == 2 * len(points)
    boxes = [(t.x, t.y - 7, t.x + text_width(t.text, t.size), t.y + 7) for t in labels]
    boxes += [(d.x - 4, d.y - 4, d.x + 4, d.y + 4) for d in dots]
    for (left, top, right, bottom), other in combinations(boxes, 2):
        if boxes.index((left, top, right, bottom)) < len(labels):  # a point may hide another point
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    for left, top, right, bottom in boxes:
        assert min(left, top) >= 0 and right <= page.width and bottom <= page.height


def test_axes_hold_all_points_and_colours_are_those_of_the_networks():
    page = cost_picture({"a": CROWDED, "b": CROWDED[::-1]})
    dots = [shape for shape in page.shapes if isinstance(shape, Dot)]
    assert [dot.colour for dot in dots[:6]] == [dot.colour for dot in dots[6:][::-1]]
    assert all(62 <= dot.x % 560 <= 538 and 44 <= dot.y <= 348 for dot in dots)
    assert ticks(0, 27) == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
    low, high = ticks(60, 60)
    assert low == 60 < high
    assert log_ticks(2, 2) == [2.0, 5.0]
    assert shortened("a" * 50, 60).count("…") == 1 and text_width(shortened("a" * 50, 60)) <= 60
