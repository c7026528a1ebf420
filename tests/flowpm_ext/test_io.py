"""A staged folder: all files or none."""

import pytest

from flowpm_ext.io import staged_folder


def test_files_appear_together_and_replace_older_ones(tmp_path):
    out = tmp_path / "a" / "b"
    for text in ("first", "second"):
        with staged_folder(out) as stage:
            (stage / "x.txt").write_text(text)
            assert not (out / "x.txt").exists() or (out / "x.txt").read_text() == "first"
        assert [path.name for path in out.iterdir()] == ["x.txt"]
        assert (out / "x.txt").read_text() == text


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_interrupted_work_leaves_nothing(tmp_path, error):
    out = tmp_path / "a" / "b"
    with pytest.raises(error), staged_folder(out) as stage:
        (stage / "x.txt").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_interrupted_work_keeps_what_was_there(tmp_path):
    (tmp_path / "x.txt").write_text("whole")
    with pytest.raises(OSError, match="disk"), staged_folder(tmp_path) as stage:
        (stage / "x.txt").write_text("half")
        raise OSError("disk")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "whole"


def test_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        message = "`out` must be a folder that can be written. Received: .*file"
        with pytest.raises(ValueError, match=message), staged_folder(out):
            pass


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_replaced(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").mkdir()
    message = r"`out` must hold no folder where a file shall be. Received: \['b.txt'\]"
    with pytest.raises(ValueError, match=message), staged_folder(tmp_path) as stage:
        (stage / "a.txt").write_text("new")
        (stage / "b.txt").write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]
