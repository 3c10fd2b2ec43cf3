"""Captions files that are not UTF-8: those of western Windows, and those that must not be taken for them."""

from pathlib import Path

import pytest

from crossmodal.data.captions import read_captions

ASCII = "".join(f"p{number}.jpg\ta dog runs in the grass\n" for number in range(3000))
ENCODED = {
    "an apostrophe": ("cp1252", "a man\u2019s dog"), "a dash": ("cp1252", "a dog \u2013 running"),
    "an ellipsis": ("cp1252", "well\u2026a dog"), "quotes": ("cp1252", "\u2018stop\u2019, it\u2019s \u201chere\u201d"),
    "a trade mark": ("cp1252", "5 \u20ac for a Coke\u2122 \u2022 at 20\u00b0"), "a café": ("cp1252", "caf\xe9 \u2013 a \u201cquoted\u201d"),
    "German": ("cp1252", "ein Mädchen läuft über die Straße, \u201eGröße\u201c"), "French": ("cp1252", "où l\u2019œuvre naît, un garçon à la plage"),
    "Spanish": ("cp1252", "¿dónde está el niño? ¡aquí!"), "Swedish": ("cp1252", "en pojke på ängen äter smörgås"),
    "Finnish": ("cp1252", "poika juoksee järvellä\nb.jpg\ttyttö hyppää"), "Dutch": ("cp1252", "in het café, één jongen\nb.jpg\tzeeën"),
    "Italian": ("cp1252", "c\u2019è un cane perché è più bello\nb.jpg\tla città"), "Russian": ("cp1251", "Собака бежит по траве\nb.jpg\tДве кошки спят на кровати"),
    "Chinese": ("gbk", "一只狗在草地上奔跑\nb.jpg\t两个人在街上走路"), "Japanese": ("shift-jis", "犬が草の上を走っている\nb.jpg\t二人が通りを歩いている"),
    "Polish": ("cp1250", "pies biegnie przez łąkę, żółta piłka\nb.jpg\tdziewczyna śpi na łóżku\nc.jpg\tmężczyzna"),
    "Czech": ("cp1250", "pes běží přes louku, žlutý míč\nb.jpg\tdívka spí na posteli u řeky"),
    "Polish in DOS": ("cp852", "pies biegnie przez łąkę, żółta piłka\nb.jpg\tdziewczyna śpi na łóżku\nc.jpg\tmężczyzna"),
    "Czech in DOS": ("cp852", "pes běží přes louku, žlutý míč\nb.jpg\tdívka spí na posteli u řeky\nc.jpg\tmuž šplhá na skálu"),
    "French in DOS": ("cp850", "un garçon à la plage en été\nb.jpg\tune fenêtre où naît"),
}  # fmt: skip


@pytest.mark.parametrize(("encoding", "captions"), ENCODED.values(), ids=ENCODED.keys())
def test_western_text_of_windows_is_not_taken_for_that_of_dos_and_others_stay(
    tmp_path: Path, encoding: str, captions: str
) -> None:
    for before in ("", ASCII):
        (tmp_path / "c.tsv").write_bytes(f"image\tcaption\n{before}a.jpg\t{captions}\n{before}".encode(encoding))
        read = read_captions(tmp_path / "c.tsv")
        found = [row.caption for row in read.rows if row.image == "a.jpg"]
        assert found == [captions.split("\n")[0]], read.notes
