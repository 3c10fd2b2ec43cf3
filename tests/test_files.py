"""Files that are whole or not there, their permissions, what killed writers leave, and what of them is printed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodal import cli
from crossmodal.commands.sentences import read_lines_of
from crossmodal.data.captions import BadRow, read_captions
from crossmodal.data.splits import read_names
from crossmodal.data.thumbnails import Size, thumbnail
from crossmodal.errors import CrossmodalError
from crossmodal.files import (
    PRIVATE,
    checked_fingerprint,
    read_lines,
    remove_leftovers,
    stays_below,
    whole_file,
    write_text,
)
from crossmodal.photos.changes import Changes
from crossmodal.photos.store import Store
from crossmodal.progress import unprinted
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.hit import CaptionHit, Hit, as_json
from crossmodal.search.record import Found, Photo
from crossmodal.serving.keys import add_key, owner_of, read_keys
from tests.test_photo_index import run, save


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_private_file_is_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("it is the whole process's, other threads included"))
    replace, modes = os.replace, []

    def seen(source: Path, target: Path) -> None:
        modes.append(mode_of(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", seen)
    with whole_file(tmp_path / "key", PRIVATE) as temporary:
        assert mode_of(temporary) == PRIVATE
        temporary.write_text("secret")
    add_key(tmp_path / "keys", "anna")
    assert modes == [PRIVATE, PRIVATE]
    write_text(tmp_path / "open", "for all")
    (tmp_path / "plain").write_text("for all")
    assert mode_of(tmp_path / "open") == mode_of(tmp_path / "plain")


def test_a_new_key_leaves_all_other_lines_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# who has which\n\n")  # no key yet
    first = add_key(file, "anna")
    file.write_text(f"{file.read_text()}  # Ben, until May\n")
    ben, again = add_key(file, "ben"), add_key(file, "anna")
    lines = file.read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["# who has which", "", "anna", "  # Ben, until May", "ben"]
    assert [owner_of(key, read_keys(file)) for key in (first, ben, again)] == [None, "ben", "anna"]


KILLED = """
import sys, time
from pathlib import Path
from crossmodal.files import whole_file
with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    others = {".b.1234.part", "c.part", ".a.0123456789ab.partial"}
    for name in others:
        (tmp_path / name).write_text("not ours")
    write_text(tmp_path / "b", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == len(others) + 2  # its writer lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    write_text(tmp_path / "b", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {*others, "b"}
    remove_leftovers(tmp_path / "nowhere")


def test_thumbnails_of_killed_writers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photo = save(tmp_path / "a.jpg")
    _, tag = thumbnail(photo, Size.TINY)
    (folder,) = (tmp_path / "cache" / "crossmodal" / "thumbnails").iterdir()
    (folder / f"{tag}.jpg").rename(folder / f".{tag}.jpg.0123456789ab.part")
    thumbnail(photo, Size.TINY)
    assert [path.name for path in folder.iterdir()] == [f"{tag}.jpg"]


def test_what_a_file_states_is_believed_only_in_part() -> None:
    assert checked_fingerprint("0123456789abcdef" * 2, "a.pt") == "0123456789abcdef" * 2
    for wrong in ("/../../victim", "0" * 31, "0" * 33, "0" * 32 + "\n", "G" * 32, "", None, 5, ["0" * 32]):
        with pytest.raises(CrossmodalError, match=r"^a\.pt names no model .*make it again"):
            checked_fingerprint(wrong, "a.pt")
    assert stays_below("a/b.jpg") and stays_below("a..b/c...jpg")
    assert not any(map(stays_below, ("", "/etc/hostname", "../a.jpg", "a/../../b.jpg", "a/..", "a\0.jpg")))


HOSTILE = "\x1b]0;owned\x07\x9b2J"


def test_what_a_file_says_is_printed_without_commands_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("crossmodal.photos.index.update", lambda *arguments, **options: Changes())
    root = tmp_path / "photos"
    photo = save(root / "a.png")
    run(root)
    with Store(root / ".crossmodal", writable=True) as store:
        store.set_meta("checkpoint", f"/{HOSTILE}.pt")
        with store.change():
            store.skip(Found(photo.name, 1, 2), f"it is {HOSTILE}")
    assert cli.main(["search", "red", "--photos", str(root)]) == 1
    assert cli.main(["index", str(root), "--verbose"]) == 0
    caption = Hit("0" * 24, 0.5, Photo(Found("a.png", 1, 0), captions=(HOSTILE,)), photo)
    shown = [
        caption.line,
        CaptionHit(HOSTILE, 0.5).line,
        as_json([caption.plain()]),
        str(BadRow("line 1", HOSTILE, "bad")),
    ]
    out, err = capsys.readouterr()
    assert r"no longer at /\x1b]0;owned\x07\x9b2J.pt" in err and r"it is \x1b]0;owned" in out
    assert json.loads(shown[2])[0]["captions"] == [HOSTILE]
    for text in (out, err, *shown):
        assert all(c.isprintable() for c in text.replace("\n", ""))


def test_texts_that_never_end_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as written:
        written.truncate(40 * 10**9)
    readers: list[Callable[[Path], object]] = [read_captions, read_names, read_keys, read_lines_of, read_lines]
    for read in readers:
        with pytest.raises(CrossmodalError, match="MB that are read of such a file"):
            read(file)
    file.rename(tmp_path / "cutoff.json")
    with pytest.raises(CrossmodalError, match="MB that are read"):
        Cutoff.read(tmp_path)
    with pytest.raises(CrossmodalError, match="MB that are read"):
        read_lines_of(Path("/dev/zero"))


def test_what_a_thread_holds_back_is_no_other_threads_output(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[bool] = []

    def work() -> None:
        before = sys.stdout
        with unprinted():  # else it would be given back when somebody else has put in another one
            seen.append(sys.stdout is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with unprinted():
        print("held back")
    print("said")
    assert seen == [True] and capsys.readouterr().out == "said\n"
