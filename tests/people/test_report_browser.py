"""The pages in headless Chromium, from disk: no console error, no request beyond the folder, everything works."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from stmga import Embeddings, Gallery, link
from stmga.people.identities import Identities, Membership
from stmga.report import write_report, write_search_page
from tests.support import chromium
from tests.support.report import HOSTILE, embeddings_of, tracklets_of
from tests.support.vectors import people

pytestmark = pytest.mark.skipif(
    chromium.find() is None or importlib.util.find_spec("websocket") is None,
    reason="needs chromium (apt-get install chromium) and the extra docs",
)
WIDTHS = pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desktop", "phone"])
SHOWN = "[...document.querySelectorAll('.row .title')].map(e => e.innerText)"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Five identities of three cameras, two with unsure joins; times by the clock."""
    folder = tmp_path_factory.mktemp("people")
    tracklets = tracklets_of(folder, 15)
    times = [1.79e9 + 60 * k for k in (7, 1, 2, 3, 4, 5, 6, 0, 8, 9, 10, 11, 12, 13, 14)]
    e = embeddings_of(tracklets, noise=0.5, time=times, end_time=[t + 20 for t in times])
    e.items[14]["camera"] = "gate"
    found = link(e, threshold=0.45)
    return write_report(found, e, folder / "people", tracklets=tracklets).path.as_uri(), found


def opened(browser, address, width=1280, height=900):
    browser.requests.clear()
    browser.errors.clear()
    browser.size(width, height)
    browser.open("about:blank")
    browser.open(address)
    return browser


def choose(browser, name, value):
    browser.value(f"""(() => {{ const e = document.getElementById('{name}'); e.value = {value!r};
        e.dispatchEvent(new Event('input', {{bubbles: true}})) }})()""")
    return browser.value(SHOWN)


def check_quiet(browser):
    assert browser.errors == []
    assert [r for r in browser.requests if not r.startswith(("file:", "about:"))] == []


def names(numbers):
    return [f"Identity {number}" for number in numbers]


@WIDTHS
def test_the_list_filters_sorts_and_searches(browser, page, width, height):
    address, found = page
    opened(browser, address, width, height)
    members = {n: [row for row in found if row.identity == n] for n in sorted({row.identity for row in found})}
    assert len(members) > 3
    assert browser.value(SIDEWAYS) == 0
    by = lambda key: names(sorted(members, key=lambda n: (key(members[n]), n)))  # noqa: E731
    least = min(members, key=lambda n: len(members[n]))
    shown = choose(browser, "sort", "first")
    assert shown == by(lambda rows: min(row.time for row in rows))[: len(shown)]
    shown = choose(browser, "sort", "confidence")
    assert shown == by(lambda rows: min(row.confidence for row in rows))[: len(shown)]
    shown = choose(browser, "sort", "tracklets")
    assert shown == by(lambda rows: -len(rows))[: len(shown)]
    gate = next(row.identity for row in found if row.camera == "gate")
    assert choose(browser, "camera", "2") == names([gate])
    choose(browser, "camera", "")
    assert choose(browser, "find", f"#{least}") == names([least])
    assert choose(browser, "find", "T4 cam0") == names([found.rows[4].identity])
    assert choose(browser, "find", "nobody") == []
    assert browser.value("document.getElementById('none').hidden") is False
    browser.value("document.getElementById('reset').click()")
    assert browser.value("document.getElementById('count').innerText") == f"{len(members)} identities"
    check_quiet(browser)


@WIDTHS
def test_the_detail_shows_every_frame_and_the_keys_work(browser, page, width, height):
    address, found = page
    opened(browser, address, width, height)
    choose(browser, "sort", "number")
    browser.value("document.querySelector('.row .title').click()")
    own = [row for row in found if row.identity == 1]
    assert browser.value("document.querySelectorAll('#detail .tracklet').length") == len(own)
    assert browser.value("document.querySelectorAll('#detail .frames img').length") == 4 * len(own)
    browser.until("[...document.querySelectorAll('#detail .frames img')].slice(0, 4).every(i => i.naturalWidth > 0)")
    assert browser.value("document.activeElement.id") == "detail-title"
    assert browser.value("document.getElementById('detail').scrollWidth <= innerWidth") is True
    press(browser, "ArrowRight", 39)
    assert browser.value("location.hash") == "#identity-2"
    assert browser.value("document.getElementById('detail-title').innerText").startswith("Identity 2")
    press(browser, "Escape", 27)
    browser.until("!document.getElementById('detail').open && !location.hash.startsWith('#identity')")
    check_quiet(browser)
    opened(browser, f"{address}#identity-3", width, height)
    assert browser.value("document.getElementById('detail').open") is True
    browser.value("document.getElementById('detail').close()")  # as a browser may do of its own
    browser.until("location.hash === ''")
    check_quiet(browser)


def press(browser, key, code):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def crowd(folder, **columns):
    """Two alike who are seen together, one who is like nobody, and two who are joined."""
    vectors = torch.tensor([[1, 0, 0, 0], [0.9, 0.4, 0, 0], [0.3, 0, 1, 0], [0, 0, 0, 1], [0, 0.1, 0, 1.0]])
    items = [tracklet.row() for tracklet in tracklets_of(folder, 5)]
    for item, start in zip(items, (10, 15, 15, 100, 200), strict=True):
        item |= {"camera": "door", "time": 1.79e9 + start, "end_time": 1.79e9 + start + 10} | columns
    items[2]["camera"] = "hall"
    return Embeddings(torch.nn.functional.normalize(vectors), items, digest="1f0c")


CUT = "[...document.querySelectorAll('.row .meta')].filter(e => e.scrollHeight > e.parentElement.clientHeight).length"


@WIDTHS
def test_an_identity_of_one_tracklet_says_why(browser, tmp_path, width, height):
    e = crowd(tmp_path)
    path = write_report(link(e, threshold=0.8), e, tmp_path / "people").path
    opened(browser, path.as_uri(), width, height)
    choose(browser, "sort", "number")
    why = "[...document.querySelectorAll('.row')].map(e => e.querySelector('.why')?.innerText ?? null)"
    together = "kept apart: seen at the same time by one camera"
    too_far = "no other identity that it may join reaches the threshold"
    assert browser.value(why) == [together, together, too_far, None]
    assert browser.value(CUT) == 0
    browser.value("document.querySelector('.row .title').click()")
    detail = browser.value("document.getElementById('detail').innerText")
    assert f"most similar\nidentity 2 (0.91), {together}" in detail
    assert (
        "for their tracklets in identities.jsonl, beside this page, and link again with --known identities.jsonl."
        in detail
    )
    check_quiet(browser)


@WIDTHS
def test_persons_given_by_hand_are_in_the_headings_and_found(browser, tmp_path, width, height):
    e = crowd(tmp_path)
    e.items[2]["person"] = 7  # by the embeddings, not by hand
    found = link(e, threshold=0.8, known={"t0": "ann", "t3": "Bob Long-Name"})
    opened(browser, write_report(found, e, tmp_path / "people").path.as_uri(), width, height)
    titles = ["ann (identity 1)", "Identity 2", "Person 7 (identity 3)", "Bob Long-Name (identity 4)"]
    assert choose(browser, "sort", "number") == titles
    assert browser.value(CUT) == browser.value(SIDEWAYS) == 0
    whole = "[...document.querySelectorAll('.row .title')].map(e => e.scrollWidth <= e.clientWidth)"
    assert browser.value(whole)[:3] == [True] * 3
    assert browser.value("[...document.querySelectorAll('.row .title')].at(-1).title") == titles[3]  # it may be cut
    for sought, number in (("ann", 0), ("bob", 3), ("person 7", 2)):
        assert choose(browser, "find", sought) == [titles[number]]
    browser.value("document.querySelector('.row .title').click()")
    assert browser.value("document.getElementById('detail-title').innerText").startswith(titles[2])
    check_quiet(browser)


ORDERS = "[...document.querySelectorAll('#sort option')].map(e => e.innerText)"
BADGES = "[...document.querySelectorAll('.row .badge')].map(e => `${e.className}: ${e.innerText}`)"


@WIDTHS
def test_weak_joins_do_not_look_certain_and_the_first_order_is_what_it_says(browser, tmp_path, width, height):
    e = embeddings_of(tracklets_of(tmp_path, 9))
    sure = [0.9, 0.9, 0.9, 0.7, 0.59, 0.7, 0.6, 0.8, 0.7]
    rows = [
        Membership(identity=1 + k // 3, tracklet=name, camera="c", similarity=0.9, confidence=sure[k])
        for k, name in enumerate(e.ids)
    ]
    found = Identities(rows, threshold=0.6)
    opened(browser, write_report(found, e, tmp_path / "people").path.as_uri(), width, 1600)
    assert browser.value(ORDERS)[0] == "lowest confidence first"
    assert "unsure first" not in browser.value(ORDERS)
    assert browser.value(SHOWN) == names([2, 3, 1])
    same = "badge same: same"
    assert browser.value(BADGES) == ["badge weak: same, weak", same, same]
    choose(browser, "sort", "number")
    browser.value("document.getElementById('reset').click()")
    assert browser.value(SHOWN) == names([2, 3, 1])
    assert browser.value(CUT) == 0
    rows[0] = replace(rows[0], confidence=0.4)  # now one is unsure
    opened(browser, write_report(found, e, tmp_path / "people").path.as_uri(), width, 1600)
    assert browser.value(ORDERS)[0] == "unsure first"
    assert browser.value(BADGES) == ["badge unsure: unsure", "badge weak: same, weak", same]
    check_quiet(browser)


BARS = """[...document.querySelectorAll('.bar')].every(e => {
    const [bar, track] = [e, e.parentElement].map(one => one.getBoundingClientRect());
    return bar.width >= 6 && bar.left >= track.left - .1 && bar.right <= track.right + .1 })"""


@WIDTHS
@pytest.mark.parametrize("clock", [True, False], ids=["clock", "frames"])
def test_time_lines_name_their_unit_and_every_bar_can_be_seen(browser, tmp_path, width, height, clock):
    e = crowd(tmp_path)
    for k, item in enumerate(e.items):
        if clock:
            item["end_time"] = item["time"]
        else:
            item |= {
                "time": None,
                "end_time": None,
                "video": f"/x/{item['camera']}.mp4",
                "start": 3000 * k,
                "end": 3000 * k,
            }
    path = write_report(link(e, threshold=0.8), e, tmp_path / "people").path
    opened(browser, f"{path.as_uri()}#identity-1", width, height)
    lead, detail, axis = (
        browser.value(f"document.querySelector('{one}').innerText") for one in ("#lead", "#detail", ".axis")
    )
    if clock:
        assert "2026-09-21, 14:13:30 – 14:16:40 UTC" in lead
        assert "2026-09-21, 14:13:30" in detail and "UTC" in detail
    else:
        assert "frames 0 – 12,000 of each video, not on one clock" in lead
        assert "frames 0" in detail and "of each video, not on one clock" in detail
        assert axis.split("\n") == ["frame 0", "frame 12,000"]
    assert browser.value("document.querySelectorAll('#detail .when .bar').length") > 0
    assert browser.value(BARS) is True
    check_quiet(browser)


@WIDTHS
def test_the_search_page_works(browser, tmp_path, width, height):
    tracklets = tracklets_of(tmp_path, 12)
    e = embeddings_of(tracklets)
    e.items[3]["cover"] = {"file": str(tmp_path / "gone.jpg")}
    path = write_search_page(e, Gallery(e).search(e, 4), e, tmp_path / "page").path
    opened(browser, path.as_uri(), width, height)
    assert browser.value(SIDEWAYS) == 0
    assert browser.value("document.querySelector('.row h2').innerText") == "t0"
    assert browser.value("document.querySelectorAll('.row:first-child .match').length") == 4
    choose(browser, "find", "t3")
    assert browser.value("document.querySelectorAll('.row .empty').length") > 0
    choose(browser, "find", "nobody")
    assert browser.value("document.querySelectorAll('.row').length") == 0
    check_quiet(browser)


def test_hostile_names_run_nothing(browser, tmp_path):
    items = [{"tracklet": f"{name}{k}", "camera": name, "person": name} for k, name in enumerate(HOSTILE)]
    e = Embeddings(torch.eye(len(items)), items, digest="1f0c", model=HOSTILE[0])
    for path in (
        write_report(link(e, threshold=0.5), e, tmp_path / "people").path,
        write_search_page(e, Gallery(e).search(e, 2), e, tmp_path / "search").path,
    ):
        opened(browser, path.as_uri(), 390, 4000)
        assert browser.value("document.querySelectorAll('.row').length") == len(items)
        assert browser.value(SIDEWAYS) == 0  # the longest name is cut
        assert browser.value("document.querySelectorAll('img').length") == 0
        assert browser.value("document.body.innerText.includes('<script>alert(1)')") is True
        check_quiet(browser)


def test_of_ten_thousand_tracklets_few_rows_are_in_the_page_and_all_can_be_reached(browser, tmp_path):
    items = [{"tracklet": f"t{i}", "camera": i % 7, "cover": {"file": "/nowhere.jpg"}} for i in range(10_000)]
    e = Embeddings(people(10_000, each=4, noise=0.2), items, digest="1f0c")
    found = link(e, threshold=0.7)
    opened(browser, write_report(found, e, tmp_path / "people", pictures=False).path.as_uri())
    choose(browser, "sort", "number")
    assert 5 < browser.value("document.querySelectorAll('.row').length") < 40
    browser.value("scrollTo(0, document.documentElement.scrollHeight)")
    browser.until(f"[...document.querySelectorAll('.title')].at(-1).innerText === 'Identity {len(found)}'")
    assert browser.value("document.querySelectorAll('.row').length") < 40
    browser.value("dispatchEvent(new Event('beforeprint'))")
    assert f"the first 300 of {len(found):,} rows" in browser.value("document.getElementById('cut').textContent")
    check_quiet(browser)


def test_a_printed_page_has_the_rows_that_are_not_in_the_window(browser, page):
    address, found = page
    opened(browser, address, 1280, 300)
    browser.value("dispatchEvent(new Event('beforeprint'))")
    assert browser.value("document.querySelectorAll('.row').length") == len(found)
    check_quiet(browser)
