import contextlib
import os
import threading

import pytest

from cli.terminal.output import Output, note, note_to_terminal


@pytest.fixture
def pipe():
    """A pipe, writing end as text: (reading descriptor, stream)."""
    read, write = os.pipe()
    with open(write, "w", encoding="utf-8") as stream:
        yield read, stream
    with contextlib.suppress(OSError):  # a test may have closed it
        os.close(read)


def test_a_written_text_has_left_the_process(pipe):
    read, stream = pipe
    Output(stream).write("größer\n")
    assert os.read(read, 100) == "größer\n".encode()


def test_what_the_encoding_has_not_is_escaped(pipe):
    read, stream = pipe
    stream.reconfigure(encoding="ascii")
    Output(stream).write("größer\n")
    assert os.read(read, 100) == b"gr\\xf6\\xdfer\n"


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for(pipe):
    read, stream = pipe
    os.set_blocking(stream.fileno(), False)
    size = 1_000_000
    got = []

    def take():
        while sum(map(len, got)) < size:
            got.append(os.read(read, 65_536))

    reader = threading.Thread(target=take)
    reader.start()
    Output(stream).write("x" * size)
    reader.join()
    assert sum(map(len, got)) == size


def test_a_reader_that_went_away_is_noticed_without_writing(pipe):
    read, stream = pipe
    out = Output(stream)
    out.check()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        out.check()
    with pytest.raises(BrokenPipeError):
        out.write("x")


def test_a_pipe_is_no_terminal_and_has_a_size_nevertheless(pipe):
    out = Output(pipe[1])
    assert not out.is_terminal
    assert not out.has_colour
    assert out.size() == (80, 24)


def test_a_terminal_has_colour_unless_the_environment_forbids_it(monkeypatch):
    ours, theirs = os.openpty()
    with open(theirs, "w") as stream:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert Output(stream).is_terminal
        assert Output(stream).has_colour
        assert Output(stream).size() == (80, 24)  # its size is not set
        monkeypatch.setenv("TERM", "dumb")
        assert not Output(stream).has_colour
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        assert not Output(stream).has_colour
    os.close(ours)


def test_a_remark_goes_to_stderr_and_one_for_terminals_only_there(capsys, monkeypatch):
    note("one")
    note_to_terminal("two")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    note_to_terminal("three")
    assert capsys.readouterr() == ("", "-- one\n-- three\n")
