"""The server's web page in Chromium, as its user meets it."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from crossmodal.cli import main
from crossmodal.photos.index import index_photos
from crossmodal.search.cutoff import Cutoff, Thresholds
from crossmodal.search.query import Calibration
from tests import axe
from tests.test_photo_index import save
from tests.test_server import running
from tests.test_serving import cache as cache  # a fixture
from tests.test_serving import calibrated as calibrated  # a fixture
from tests.test_serving import photo as image_file
from tests.test_serving import runs as runs  # a fixture
from tests.test_written import LISBON, exif_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.real
SECONDS = 60.0


@pytest.fixture
def url(runs: Path, cache: Path) -> Iterator[str]:
    with running(cache, "--checkpoint", str(runs)) as (_, address):
        yield address


@pytest.fixture
def folder(runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of an indexed folder, whose cut-off leaves some photos out of a sentence's answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for number in range(12):
        place = tmp_path / "photos" / f"trip {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        size = (60 + number, 50) if number % 4 else (40, 70 + number)
        (place / f"{number}.jpg").write_bytes(image_file(size=size))
    index_photos(tmp_path / "photos", checkpoint=runs)
    with running(cache, "--photos", str(tmp_path / "photos")) as (_, address):
        yield address


@pytest.fixture
def page(browser: "Chrome", url: str) -> "Chrome":
    browser.get(url)
    until(lambda: "photos" in text_of(browser, "stats"))
    return browser


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


def at(page: "Chrome", name: str) -> "WebElement":
    return page.find_element("id", name)


def text_of(page: "Chrome", name: str) -> str:
    return at(page, name).text


def photos(page: "Chrome") -> list["WebElement"]:
    return page.find_elements("css selector", "#photos button")


def found(page: "Chrome", words: str) -> None:
    until(lambda: words in text_of(page, "status") and photos(page))


def judged(page: "Chrome") -> list[str]:
    return [chip.text for chip in page.find_elements("css selector", "#judged button")]


def opened(page: "Chrome") -> str | None:
    """The id of the photo that is open, as the address has it; the large view and the address say the same."""
    ids = parse_qs(urlsplit(page.current_url).query).get("photo", [None])
    until(lambda: at(page, "large").is_displayed() == (ids[0] is not None))
    return ids[0]


def weights_of_words(page: "Chrome", words: str) -> list[str]:
    """What the large view says of these words, once it says something; it is opened for it where it is not."""
    if not page.execute_script("return document.getElementById('why').open"):
        page.find_element("css selector", "#why summary").click()
    rows = "return [...document.querySelectorAll('#weights li')].map(one => [...one.querySelectorAll('span')].map(part => part.textContent))"
    said: list[list[str]] = until(lambda: page.execute_script(rows))
    assert [word for word, _ in said] == words.split()
    return [weight for _, weight in said]


def asked(page: "Chrome") -> list[str]:
    """What was asked of the server so far, by the page itself."""
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    return [
        one["params"]["request"]["url"] for one in messages
        if one["method"] == "Network.requestWillBeSent" and "request" in one["params"]
    ]  # fmt: skip


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_a_search_at_three_widths(page: "Chrome", url: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    at(page, "query").send_keys("a red car")
    found(page, "a red car")
    shown = (
        "return [...document.querySelectorAll('#photos img')].slice(0, 4).every(i => i.complete && i.naturalWidth > 0)"
    )
    until(lambda: page.execute_script(shown))
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    lines = {button.location["x"] for button in photos(page)}
    assert len(lines) == 2 if width == 390 else len(lines) > 2
    assert all(one.startswith((url, "data:", "blob:")) for one in asked(page))  # no foreign host
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_is_typed_is_asked_once_and_a_late_answer_is_dropped(page: "Chrome") -> None:
    page.execute_script("""
        const fetch_ = fetch;
        window.queries = [];
        window.fetch = async (path, options) => {
            if (path === "/api/search/text") queries.push(JSON.parse(options.body).query);
            const answer = await fetch_(path, options);
            if (options?.body?.includes?.("slow")) await new Promise(done => setTimeout(done, 1500));
            return answer;
        };
    """)
    field = at(page, "query")
    field.send_keys("a slow dog")
    until(lambda: page.execute_script("return queries.length"))
    field.clear()
    field.send_keys("a quick cat")
    found(page, "a quick cat")
    time.sleep(2)  # in which the slow answer has come
    assert "a quick cat" in text_of(page, "status")
    assert len(page.execute_script("return queries")) <= 4  # and not one for each of 21 letters


def test_by_keyboard_alone(page: "Chrome") -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(page).send_keys(*keys).perform()

    def focused(script: str) -> Any:
        return page.execute_script(f"return document.activeElement{script}")

    assert focused(".id") == "query"  # as it opens
    press("a blue boat", Keys.ENTER)
    found(page, "a blue boat")
    for _ in range(20):
        press(Keys.TAB)
        if focused(".closest('#photos')"):
            break
    press(Keys.ENTER)
    until(lambda: page.execute_script("return document.getElementById('large').open"))
    alts = [text_of(page, "large-text")]
    count = len(photos(page))
    for _ in range(count + 2):  # further than there is
        press(Keys.ARROW_RIGHT)
    alts.append(text_of(page, "large-text"))
    press(Keys.ARROW_LEFT)
    alts.append(text_of(page, "large-text"))
    assert len(set(alts)) == 3
    press(Keys.ESCAPE)
    until(lambda: not page.execute_script("return document.getElementById('large').open"))
    assert focused(".closest('#photos')")  # back where one was


def test_what_a_screen_reader_needs(page: "Chrome") -> None:
    at(page, "query").send_keys("a red car")
    found(page, "a red car")
    named = """
        const bare = [...document.querySelectorAll("img")].filter(i => !i.alt && i.id !== "large-image").length;
        const fields = [...document.querySelectorAll("input")].filter(i => !i.labels.length).length;
        const buttons = [...document.querySelectorAll("button")].filter(b => !b.textContent.trim() && !b.ariaLabel).length;
        return [bare, fields, buttons, document.documentElement.lang, document.getElementById("status").getAttribute("role")];
    """
    assert page.execute_script(named) == [0, 0, 0, "en", "status"]


def test_a_photo_chosen_dropped_and_pasted(page: "Chrome", tmp_path: Path) -> None:
    path = tmp_path / "mine.jpg"
    Image.linear_gradient("L").resize((200, 100)).convert("RGB").save(path)
    at(page, "file").send_keys(str(path))
    found(page, "like your photo")
    (bar, score) = page.execute_script(
        "const one = document.querySelector('#captions li'); return [one.firstChild.style.width, one.lastChild.textContent]"
    )
    assert float(bar.rstrip("%")) == pytest.approx(100 * abs(float(score)), abs=0.6)  # a whole bar would be 1
    page.refresh()
    until(lambda: "not kept" in text_of(page, "status"))
    at(page, "file").send_keys(str(path))
    found(page, "like your photo")
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        at(page, "forget").click()
        at(page, "query").clear()
        at(page, "query").send_keys("a red car")
        until(lambda: text_of(page, "status").startswith("30 photos for “a red car”,"))
        assert not page.find_elements("css selector", "#captions li")
        page.execute_script(
            f"""
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0))], "b.jpg", {{type: "image/jpeg"}}));
            const event = new Event("{event}", {{bubbles: true, cancelable: true}});
            event.{carrier} = data;
            document.body.dispatchEvent(event);
            """,
            base64.b64encode(path.read_bytes()).decode(),
        )
        found(page, "for “a red car” and like your photo")  # words and picture together
        assert page.find_elements("css selector", "#captions li")
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    at(page, "file").send_keys(str(tmp_path / "no.jpg"))
    until(lambda: "not a photo that can be read" in text_of(page, "status"))
    assert not photos(page)  # what was found before is not shown beside an error


def test_an_upload_that_the_browser_cannot_show(page: "Chrome", tmp_path: Path) -> None:
    (tmp_path / "mine.heic").write_bytes(image_file("HEIF", (300, 200)))
    at(page, "file").send_keys(str(tmp_path / "mine.heic"))
    found(page, "like your photo")
    assert text_of(page, "chosen-name") == "mine.heic"
    until(lambda: page.execute_script("return document.getElementById('chosen-image').naturalWidth") == 256)
    assert at(page, "chosen-image").is_displayed()


def test_the_address_says_what_is_asked(page: "Chrome", url: str) -> None:
    at(page, "query").send_keys("a red car")
    found(page, "for “a red car”")
    assert page.current_url.endswith("?q=a+red+car")
    first = [photo.text for photo in photos(page)]
    photos(page)[2].click()
    until(lambda: at(page, "large").is_displayed())
    at(page, "similar").click()
    found(page, "like the one you chose")
    assert "like=" in page.current_url and "q=" not in page.current_url
    at(page, "query").send_keys("a blue boat")
    found(page, "for “a blue boat”,")
    sent = page.current_url
    assert "like=" not in sent  # words leave it
    page.back()
    until(lambda: "boat" not in text_of(page, "status") and "like the one" in text_of(page, "status"))
    assert at(page, "query").get_attribute("value") == ""
    page.back()
    found(page, "for “a red car”,")
    assert [photo.text for photo in photos(page)] == first
    assert at(page, "query").get_attribute("value") == "a red car"
    page.forward()
    page.forward()
    found(page, "for “a blue boat”,")
    last = [photo.text for photo in photos(page)]
    page.get(sent)  # as a link that was sent, or reloaded
    found(page, "for “a blue boat”,")
    assert [photo.text for photo in photos(page)] == last


def test_the_open_photo_is_in_the_address(page: "Chrome", url: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str) -> None:
        ActionChains(page).send_keys(key).perform()

    def entries() -> int:
        return int(page.execute_script("return history.length"))

    def closed() -> bool:
        return not at(page, "large").is_displayed() and page.current_url.endswith("?q=a+red+car")

    page.get(f"{url}?q=a+red+car")
    found(page, "a red car")
    asked(page)
    before = entries()
    photos(page)[2].click()
    first = until(lambda: opened(page))
    press(Keys.ARROW_RIGHT)
    until(lambda: text_of(page, "place").startswith("4 of"))
    second = opened(page)
    assert second != first and entries() == before + 1
    page.back()
    until(closed)
    assert not [one for one in asked(page) if one.endswith("/api/search/text")]  # what was found is still there
    page.forward()
    until(lambda: opened(page) == second and text_of(page, "place").startswith("4 of"))
    page.refresh()
    until(lambda: opened(page) == second and text_of(page, "place").startswith("4 of"))
    press(Keys.ESCAPE)
    until(closed)
    photos(page)[2].click()
    until(lambda: opened(page) == first)
    at(page, "close").click()
    until(closed)
    assert entries() == before + 1
    # A link that was sent has no entry to go back to, and leaves none.
    page.get(f"{url}?q=a+red+car&photo={second}")
    until(lambda: opened(page) == second and text_of(page, "place").startswith("4 of"))
    before = entries()
    at(page, "close").click()
    until(closed)
    assert entries() == before
    # A photo that is not among those that are found is shown alone.
    page.get(f"{url}?q=a+red+car&n=1&photo={second}")
    until(lambda: opened(page) == second and text_of(page, "place") == "1 of 1")
    page.get(f"{url}?q=a+red+car&photo={'0' * 24}")
    until(lambda: "The photo of this address is not shown" in text_of(page, "status"))
    assert len(photos(page)) == 30 and not at(page, "large").is_displayed()


def test_why_a_photo_matched(page: "Chrome", url: str) -> None:
    photos_of = {"query": "a red car", "top_k": 30, "explain": True}
    answer = httpx.post(f"{url}/api/search/text", json=photos_of, timeout=SECONDS).json()["photos"]
    weights = [[f"{one['weight']:.2f}" for one in photo["word_weights"]] for photo in answer]
    until(lambda: len(photos(page)) == 30)
    photos(page)[0].click()
    until(lambda: at(page, "large").is_displayed())
    assert not any(at(page, name).is_displayed() for name in ("why", "more-like", "less-like"))  # nothing is asked
    page.get(f"{url}?q=a+red+car")
    found(page, "a red car")
    asked(page)
    photos(page)[0].click()
    until(lambda: at(page, "large").is_displayed())
    assert weights_of_words(page, "a red car") == weights[0]
    at(page, "next").click()
    until(lambda: weights_of_words(page, "a red car") == weights[1])
    assert len([one for one in asked(page) if one.endswith("/api/search/text")]) == 1  # for all photos at once
    at(page, "similar").click()
    found(page, "like the one you chose")
    photos(page)[0].click()
    until(lambda: at(page, "large").is_displayed())
    assert at(page, "more-like").is_displayed() and not at(page, "why").is_displayed()  # a photo, and no words


def test_more_and_less_like_a_photo(page: "Chrome", url: str, tmp_path: Path) -> None:
    def judge(place: int, side: str) -> str:
        photos(page)[place].click()
        until(lambda: at(page, "large").is_displayed())
        name = text_of(page, "large-title")
        at(page, f"{side}-like").click()
        until(lambda: not at(page, "large").is_displayed())
        return name

    def names() -> list[str]:
        tiles: list[str] = page.execute_script(
            "return [...document.querySelectorAll('#photos button')].map(tile => tile.title)"
        )
        return tiles

    def answered(**question: Any) -> list[str]:
        how = question if "files" in question else {"json": {"query": "a red car", "top_k": 30, **question}}
        path = "upload" if "files" in question else "text"
        answer = httpx.post(f"{url}/api/search/{path}", **how, timeout=SECONDS).json()
        ids.update((photo["name"], photo["id"]) for photo in answer["photos"])
        return [photo["name"] for photo in answer["photos"]]

    ids: dict[str, str] = {}
    plain = answered()
    page.get(f"{url}?q=a+red+car")
    found(page, "a red car")
    more = judge(20, "more")
    until(lambda: judged(page) == [f"More like {more} ✕"])
    until(lambda: names() == answered(more=[ids[more]]) != plain)
    assert page.execute_script("return document.activeElement.closest('#judged') !== null")
    less = judge(9, "less")
    until(lambda: judged(page) == [f"More like {more} ✕", f"Less like {less} ✕"])
    assert at(page, "query").get_attribute("value") == "a red car"
    assert (
        all(part in page.current_url for part in ("q=a+red+car", "more=", "less=")) and "photo=" not in page.current_url
    )
    until(lambda: names() == answered(more=[ids[more]], less=[ids[less]]))
    page.refresh()
    until(lambda: len(judged(page)) == 2)
    until(lambda: names() == answered(more=[ids[more]], less=[ids[less]]))
    judge(names().index(more), "less")  # and no longer more
    until(lambda: judged(page) == [f"Less like {less} ✕", f"Less like {more} ✕"])
    page.find_elements("css selector", "#judged button")[0].click()
    until(lambda: judged(page) == [f"Less like {more} ✕"])
    page.back()
    until(lambda: len(judged(page)) == 2)
    # An upload is moved as words are, and what is asked anew begins without.
    Image.linear_gradient("L").resize((200, 100)).convert("RGB").save(tmp_path / "mine.jpg")
    at(page, "file").send_keys(str(tmp_path / "mine.jpg"))
    until(lambda: not judged(page))
    found(page, "like your photo")
    more = judge(20, "more")
    until(lambda: judged(page) == [f"More like {more} ✕"])
    upload = {"file": (tmp_path / "mine.jpg").read_bytes()}
    until(lambda: names() == answered(files=upload, data={"query": "a red car", "top_k": 30, "more": ids[more]}))
    page.get(f"{url}?q=a+red+car&more={'0' * 24}")
    until(lambda: "no photo with this id" in text_of(page, "status") and judged(page))
    page.find_element("css selector", "#judged button").click()
    found(page, "for “a red car”,")


def test_tiles_say_the_names_of_files(browser: "Chrome", folder: str, url: str) -> None:
    for address, seen in ((folder, True), (url, False)):  # where there are captions, these are seen
        browser.get(f"{address}?q=a+red+car")
        found(browser, "a red car")
        for tile in photos(browser):
            name, label = tile.get_attribute("title") or "", tile.get_attribute("aria-label") or ""
            assert name.endswith(".jpg") and name in label and (name in tile.text) == seen
            assert " ".join(tile.text.split()) in label


def test_only_filters_of_what_there_is(browser: "Chrome", folder: str) -> None:
    def shown() -> set[str]:
        fields = browser.find_elements("css selector", "#controls [name]")
        return {field.get_attribute("name") or "" for field in fields if field.is_displayed()}

    browser.get(folder)
    until(lambda: len(photos(browser)) == 12)
    at(browser, "filters-title").click()
    assert shown() == {"folder", "after", "before", "megapixels", "orientation", "by_date"}
    until(lambda: at(browser, "narrow").is_displayed())
    assert text_of(browser, "narrow-title") == "Narrow by time"
    browser.get(f"{folder}?camera=none")  # one that is on can be taken away
    until(lambda: text_of(browser, "filters-title") == "Filters (1)")
    at(browser, "filters-title").click()
    assert "camera" in shown() and "place" not in shown()


def test_the_model_is_described_in_words(page: "Chrome", url: str) -> None:
    stats = httpx.get(f"{url}/api/stats", timeout=SECONDS).json()
    good = f"for {int(stats['recall']['t2i_r10'] + 0.5)} of 100 sentences the right photo is among the first ten"
    assert f"{good}, on its {stats['measured']:,} validation photos" in text_of(page, "stats")
    assert stats["measured"] > 0


def test_how_many_of_those_that_are_alike_are_shown(browser: "Chrome", folder: str) -> None:
    browser.get(f"{folder}?n=12&by_date=1")
    until(lambda: len(photos(browser)) == 12)
    browser.execute_script("""
        const fetch_ = fetch;
        window.fetch = async (path, options) => {
            const answer = await fetch_(path, options);
            if (path !== "/api/search/text") return answer;
            return Response.json({...await answer.json(), cut_off: true, alike: 33, passing: 101});
        };
        change({q: "a red car", n: 12});
    """)
    found(browser, "33 of 101 look like that, for “a red car”; the first 12 are shown, newest first, ")


def test_filters_of_a_folder(browser: "Chrome", folder: str) -> None:
    browser.get(folder)
    until(lambda: "12 photos" in text_of(browser, "stats"))
    assert "model tiny" in text_of(browser, "stats")
    browser.get(f"{folder}?orientation=portrait")  # before anything is asked
    until(lambda: len(photos(browser)) == 3)
    assert text_of(browser, "status").startswith("Type a few words")
    browser.get(f"{folder}?camera=none")
    until(lambda: text_of(browser, "status") == "No photo passes these filters." and not photos(browser))
    browser.find_element("css selector", "#advice button").click()
    until(lambda: len(photos(browser)) == 12)
    browser.get(f"{folder}?q=a+red+car+camera:none")
    until(lambda: text_of(browser, "status") == "No photo passes these filters.")
    browser.find_element("css selector", "#advice button").click()
    until(lambda: text_of(browser, "status").startswith("12 photos for"))
    photos(browser)[0].click()
    until(lambda: at(browser, "large").is_displayed())
    browser.back()
    until(lambda: not at(browser, "large").is_displayed() and "photo=" not in browser.current_url)
    browser.back()
    until(lambda: "camera" in browser.current_url and "No photo passes" in text_of(browser, "status"))
    browser.get(folder)
    until(lambda: "12 photos" in text_of(browser, "stats"))
    at(browser, "query").send_keys("a red car")
    until(lambda: text_of(browser, "status").startswith("12 photos for"))
    at(browser, "filters-title").click()
    name = "#controls [name='{}']"
    browser.find_element("css selector", name.format("orientation")).send_keys("portrait")
    until(lambda: text_of(browser, "status").startswith("3 photos for"))
    browser.find_element("css selector", name.format("folder")).send_keys("trip 1")
    until(lambda: text_of(browser, "status").startswith("1 photo for"))
    browser.find_element("css selector", name.format("by_date")).click()
    until(lambda: "by_date=1" in browser.current_url)
    until(lambda: text_of(browser, "status").startswith("1 photo for “a red car”, newest first, "))
    assert "orientation=portrait" in browser.current_url and "folder=trip+1" in browser.current_url
    browser.refresh()
    until(lambda: text_of(browser, "status").startswith("1 photo for"))
    assert browser.find_element("css selector", name.format("folder")).get_attribute("value") == "trip 1"
    assert text_of(browser, "filters-title") == "Filters (3)"
    at(browser, "filters-title").click()
    browser.find_element("css selector", name.format("megapixels")).send_keys("900\n")
    until(lambda: text_of(browser, "status") == "No photo passes these filters.")
    browser.find_element("css selector", "#advice button").click()
    until(lambda: text_of(browser, "status").startswith("12 photos for"))
    assert "folder" not in browser.current_url
    photos(browser)[0].click()
    until(lambda: at(browser, "large").is_displayed())
    assert (at(browser, "original").get_attribute("href") or "").endswith("/original")
    assert " x " in text_of(browser, "large-data")


@pytest.fixture
def dated(runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of five photos of three months, two of them in Lisbon, with an album."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    root = tmp_path / "dated"
    days = [
        datetime(2019, 5, 1),
        datetime(2019, 5, 9),
        datetime(2021, 1, 1),
        datetime(2021, 1, 2),
        datetime(2021, 7, 1),
    ]
    for number, day in enumerate(days):
        path = save(root / f"{number}.jpg", (50 * number, 90, 9), exif=exif_of(gps=LISBON if number < 2 else None))
        os.utime(path, (day.timestamp(),) * 2)
    index_photos(root, checkpoint=runs)
    main(["albums", "--photos", str(root), "--save", "Winter", "in 2021"])
    with running(cache, "--photos", str(root), "--allow-writes") as (_, address):
        yield address


@pytest.mark.parametrize("width", [390, 1440])
def test_time_place_and_albums_narrow_a_search(browser: "Chrome", dated: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    # Each in one script, since the buttons are made anew by each answer.
    buttons = "[...document.querySelectorAll(`#${arguments[0]} button`)]"

    def titles(name: str) -> list[str]:
        found: list[str] = browser.execute_script(f"return {buttons}.map(one => one.textContent.trim())", name)
        return found

    def press(name: str, title: str) -> None:
        browser.execute_script(f"{buttons}.find(one => one.textContent.startsWith(arguments[1])).click()", name, title)

    browser.get(dated)
    until(lambda: titles("albums") == ["Winter 3"])
    until(lambda: at(browser, "narrow").is_displayed())
    browser.find_element("css selector", "#narrow summary").click()
    until(lambda: [title[-1:] for title in titles("months")] == ["2", "2", "1"])
    assert text_of(browser, "narrow-title") == "Narrow by time and place"
    assert "Lisbon 2" in titles("places")
    assert axe.violations(browser, axe.script()) == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    press("places", "Lisbon")
    until(lambda: len(photos(browser)) == 2)
    assert "q=in%3ALisbon" in browser.current_url
    until(lambda: len(titles("months")) == 1)
    press("understood", "in:Lisbon")
    until(lambda: len(titles("months")) == 3 and len(photos(browser)) == 5)
    press("months", titles("months")[1])
    until(lambda: len(photos(browser)) == 2 and "2021-01" in browser.current_url)
    browser.back()
    until(lambda: len(titles("months")) == 3 and len(photos(browser)) == 5)
    press("albums", "Winter")
    until(lambda: len(photos(browser)) == 3 and "album%3AWinter" in browser.current_url)
    assert at(browser, "query").get_attribute("value") == "album:Winter"
    # What is searched for is saved; what is wrong with it is said in the dialog.
    press("understood", "album:Winter")
    until(lambda: not at(browser, "save").is_displayed())
    at(browser, "query").send_keys("in 2019")
    until(lambda: at(browser, "save").is_displayed() and len(photos(browser)) == 2)
    at(browser, "save").click()
    assert axe.violations(browser, axe.script()) == []
    at(browser, "name").send_keys("winter\n")
    until(lambda: "There is an album 'winter' already" in text_of(browser, "unsaved"))
    assert axe.violations(browser, axe.script()) == []
    at(browser, "name").send_keys(" before\n")
    until(lambda: titles("albums") == ["Winter 3", "winter before 2"])
    assert not at(browser, "naming").is_displayed() and text_of(browser, "status") == "Saved winter before."
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_a_run_has_no_filters(page: "Chrome") -> None:
    assert not any(at(page, name).is_displayed() for name in ("filters", "narrow", "albums"))


def test_what_the_cut_off_left_out_can_be_shown(browser: "Chrome", runs: Path, cache: Path) -> None:
    with running(cache, "--checkpoint", str(runs)) as (_, address):
        asked = {"query": "a red car", "top_k": 30}
        answer = httpx.post(f"{address}/api/search/text", json=asked, timeout=SECONDS).json()
    scores = [one["score"] for one in answer["photos"]]
    row = max(range(1, 25), key=lambda n: scores[n - 1] - scores[n])  # at the widest gap, since many score alike
    kinds: dict[Calibration, Thresholds] = {
        "sentence": Thresholds(((1, -1.0),), (scores[row - 1] + scores[row]) / 2),
        "words": Thresholds(((1, 2.0),), 2.0),
    }
    (runs / "cutoff.json").write_text(json.dumps(Cutoff(kinds, "x").plain()))
    with running(cache, "--checkpoint", str(runs)) as (_, address):
        browser.get(f"{address}/?q=a+red+car")
        found(browser, f"{row} of 30 look like that")
        browser.find_element("css selector", "#advice button").click()
        found(browser, "30 photos for")
        assert "weak=1" in browser.current_url
        browser.get(f"{address}/?q=car")
        until(lambda: "Nothing here looks like that" in text_of(browser, "status"))
        browser.find_element("css selector", "#advice button").click()
        found(browser, "30 photos for")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: "Chrome", folder: str, width: int, scheme: str) -> None:
    script = axe.script()
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(f"{folder}/?q=a+red+car&camera=none")
    until(lambda: "No photo passes" in text_of(browser, "status"))
    assert axe.violations(browser, script) == []
    browser.get(f"{folder}/?q=a+red+car")
    found(browser, "a red car")
    assert axe.violations(browser, script) == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    photos(browser)[0].click()
    until(lambda: at(browser, "large").is_displayed())
    weights_of_words(browser, "a red car")
    assert axe.violations(browser, script) == []
    at(browser, "less-like").click()
    until(lambda: len(judged(browser)) == 1 and "..." not in judged(browser)[0])
    found(browser, "a red car")
    assert axe.violations(browser, script) == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_similar_photos_examples_and_colours(page: "Chrome") -> None:
    until(lambda: len(photos(page)) == 30)  # before anything is asked
    example = until(lambda: page.find_elements("css selector", "#examples button"))[0]
    words = example.text
    example.click()
    found(page, f"for “{words}”")
    photos(page)[2].click()
    until(lambda: at(page, "large").is_displayed())
    title = text_of(page, "large-title")
    assert title.endswith(".jpg") and text_of(page, "place") == f"3 of {len(photos(page))}"
    similar = until(lambda: page.find_elements("css selector", "#like button"))
    similar[0].click()
    until(lambda: text_of(page, "large-title") not in ("", title))
    assert text_of(page, "place").startswith("1 of ")
    at(page, "similar").click()
    found(page, "like the one you chose")
    assert page.find_elements("css selector", "#captions li")
    colours = set()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours.add(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
