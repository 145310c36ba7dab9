"""Files and folders that are either complete or absent."""

import os

import pytest

from canvas_rl.errors import FormatError, RunError
from canvas_rl.files import read_json, replaced_folder, tidy, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    for text in ("first", "second"):
        with replaced_folder(tmp_path / "best") as folder:
            (folder / text).write_text(text)
        assert names(tmp_path / "best") == [text]
    assert names(tmp_path) == ["best"]


def test_an_error_while_filling_leaves_the_old_folder(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "old").touch()
    with pytest.raises(KeyError), replaced_folder(tmp_path / "best"):
        raise KeyError
    assert names(tmp_path / "best") == ["old"]
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_between_the_moves_puts_the_old_folder_back(tmp_path, monkeypatch, error):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "old").touch()
    move, moves = os.replace, []

    def interrupted(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise error
        move(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises((KeyboardInterrupt, RunError)), replaced_folder(tmp_path / "best"):
        pass
    assert names(tmp_path / "best") == ["old"]
    assert names(tmp_path) == ["best"]


def test_what_a_killed_process_left_is_tidied_up(tmp_path):
    (tmp_path / ".state.json.a1b2c3d4").touch()
    (tmp_path / ".0000002.abcdefgh").mkdir()
    (tmp_path / ".best.abcdefgh").mkdir()
    (tmp_path / ".best.abcdefgh.old").mkdir()
    (tmp_path / ".best.abcdefgh.old" / "kernel.json").touch()
    (tmp_path / ".gitignore").touch()
    tidy(tmp_path)
    assert names(tmp_path) == [".gitignore", "best"]
    assert names(tmp_path / "best") == ["kernel.json"]
    (tmp_path / ".best.abcdefgh.old").mkdir()
    tidy(tmp_path)
    assert names(tmp_path / "best") == ["kernel.json"]
    assert names(tmp_path) == [".gitignore", "best"]


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(RunError, match=r"'.*missing/file' can't be written \(No such file or directory\)"):
        write_text(tmp_path / "missing" / "file", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="can't be written"):
        write_text(tmp_path / "folder", "text")
    assert names(tmp_path) == ["folder"]


def test_json_round_trip_and_damage(tmp_path):
    path = tmp_path / "data.json"
    write_json(path, {"a": [1, None]})
    assert read_json(path) == {"a": [1, None]}
    for content in ("{", "[" * 100_000, "\udcff".encode("utf-8", "surrogatepass")):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(FormatError, match="damaged"):
            read_json(path)
