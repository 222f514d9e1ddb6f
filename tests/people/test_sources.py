"""Videos, devices and addresses, and the names of cameras."""

from pathlib import Path

import pytest

from stmga.people import Source, track


def test_two_videos_of_one_camera_name_are_refused(crossing):
    video, _ = crossing
    with pytest.raises(ValueError, match=r"two videos of one camera name, 'street'.*NAME="):
        track([video, video])
    assert Source.parse(f"door={video}") == Source("door", str(video))


def test_names_of_cameras_and_addresses():
    assert Source.parse("0") == Source("video0", "/dev/video0", live=True)
    assert Source.parse("rtsp://me:secret@10.0.0.7:554/a/b?x=1") == Source(
        "10-0-0-7-554-a-b", "rtsp://me:secret@10.0.0.7:554/a/b?x=1", live=True
    )
    assert Source.parse("a=rtsp://me:secret@10.0.0.7/a").public_address == "rtsp://10.0.0.7/a"
    assert Source.parse("Tür 2_a-b.c=a/x.mp4") == Source("Tür 2_a-b.c", "a/x.mp4")
    assert Source.parse("दरवाज़ा=x.mp4").camera == "दरवाज़ा"
    assert Path(Source.parse("x=y=z.mp4").address) == Path("y=z.mp4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a/b={video}", "the camera name 'a/b' has '/'"),
        ("<b>={video}", "the camera name '<b>' has '<'"),
        ("b>={video}", "has '>'"),
        ("={video}", "the camera name '' is empty"),
        ("=x.mp4", "the camera name '=x' has '='"),
        ("..={video}", "begins with a dot"),
        (" a={video}", "begins or ends with a space"),
        ("a\nb={video}", r"has '\\n'"),
        ("a/b=x.mp4", "the camera name 'b=x' has '='"),
        ("x" * 101 + "={video}", "has 101 characters"),
        ("", "the name of a video is empty"),
        ("door=", "the name of a video is empty"),
    ],
)
def test_other_names_of_cameras_are_refused_before_anything(crossing, tmp_path, text, words):
    with pytest.raises(ValueError, match=words) as caught:
        track([crossing[0], text.format(video=crossing[0])], folder=tmp_path / "out", detector="motion")
    assert "empty: give" in str(caught.value) or "write NAME=" in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="has '/'"):
        Source("a/b", "x.mp4")


def test_a_file_whose_name_has_an_equals_sign_can_be_named(crossing, tmp_path):
    file = tmp_path / "a=b.mp4"
    file.write_bytes(crossing[0].read_bytes())
    with pytest.raises(ValueError, match=r"the camera name 'a=b' has '='.*write NAME="):
        Source.parse(file)
    assert Source.parse(f"door={file}") == Source("door", str(file))
