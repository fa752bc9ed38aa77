"""Files that change, and paths that are no files."""

import os
from time import time

import pytest

from fabric.rules.model import RulesError
from fabric.rules.reading.watched_file import MAX_FILE, WatchedFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text("one")
    return path


@pytest.fixture
def old_file(path):
    """A file that was read a minute after its last change."""
    file = WatchedFile(path, clock=lambda: time() + 60)
    file.read()
    return file


def test_a_file_that_was_never_read_may_have_changed(path):
    assert WatchedFile(path).may_have_changed()


def test_a_file_that_stays_as_it_is_has_not_changed(old_file):
    assert not old_file.may_have_changed()


def test_a_file_that_is_written_into_has_changed(old_file, path):
    path.write_text("two")
    assert old_file.may_have_changed()
    assert old_file.read() == "two"


def test_a_file_that_is_replaced_has_changed_whatever_its_time(old_file, path, tmp_path):
    facts = path.stat()
    other = tmp_path / "other"
    other.write_text("two")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, path)
    assert old_file.may_have_changed()
    assert old_file.read() == "two"


def test_the_second_of_two_changes_within_one_step_of_the_clock_is_seen(path):
    # All that a coarse clock leaves of a change that keeps the size.
    file = WatchedFile(path, fingerprint=lambda facts: (facts.st_size,))
    assert file.read() == "one"
    path.write_text("two")
    assert file.may_have_changed()
    assert file.read() == "two"


def test_a_missing_file_has_changed_and_cannot_be_read(old_file, path):
    path.unlink()
    assert old_file.may_have_changed()
    with pytest.raises(RulesError, match="cannot be read: No such file") as error:
        old_file.read()
    assert isinstance(error.value.__cause__, FileNotFoundError)


def test_a_path_that_is_no_file_is_an_error_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path, problem in [
        (tmp_path / "none.toml", "none.toml: cannot be read: No such file"),
        (tmp_path / "pipe.toml", "pipe.toml: this is no file"),
        (tmp_path, "this is a folder, and no file"),
    ]:
        with pytest.raises(RulesError, match=problem):
            WatchedFile(path).read()


def test_a_file_is_bounded_and_utf_8(path):
    path.write_bytes(b"x" * (MAX_FILE + 1))
    with pytest.raises(RulesError, match="is larger than"):
        WatchedFile(path).read()
    path.write_bytes(b"[default]\n# \xff\n")
    with pytest.raises(RulesError, match=r"rules\.toml:2: is no text in UTF-8"):
        WatchedFile(path).read()


def test_a_byte_order_mark_of_windows_editors_is_no_part_of_the_text(path):
    path.write_bytes(b"\xef\xbb\xbfone")
    assert WatchedFile(path).read() == "one"
