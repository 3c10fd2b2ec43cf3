"""The page in Chromium, as its users would: the address, the grid, the keyboard, the large view, accessibility."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from PIL import Image

from crossmodal.data.sample import draw_sample
from crossmodal.galleries import Place, open_search
from crossmodal.runs.opening import checkpoint_of
from tests import axe
from tests.test_written import LISBON, PARIS, exif_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parent.parent
SECONDS = 180.0  # that anything may take on a busy machine
SIZES = pytest.mark.parametrize(("width", "height"), [(1440, 1000), (390, 844)])
V = TypeVar("V")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that was never started."""
    copy = tmp_path_factory.mktemp("page") / "project"
    copy.mkdir()
    for name in ("app.py", "crossmodal", ".streamlit"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy / name)
    shutil.copytree(ROOT / "model-checkpoints" / "shipped", copy / "model-checkpoints" / "shipped")
    return copy


@pytest.fixture(scope="module")
def served(project: Path) -> Iterator[str]:
    """The address of its page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        "--server.headless",
        "true",
        "--server.port",
        str(port),
    ]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}/"
        until(lambda: answers(port), "the server did not start")
        yield address
        process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(what: Callable[[], V], otherwise: str = "") -> V:
    """Wait until something is true; an element that is replaced meanwhile is looked for again."""
    from selenium.common.exceptions import StaleElementReferenceException

    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if value := what():
                return value
        except StaleElementReferenceException:
            pass
        time.sleep(0.1)
    raise AssertionError(otherwise or "it did not come")


class Session:
    """A visitor."""

    def __init__(
        self, browser: "Chrome", served: str, width: int = 1440, height: int = 1000, dark: bool = False
    ) -> None:
        self.browser, self.served = browser, served
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def go(self, address: str = "") -> "Session":
        self.browser.get(self.served + address)
        return self

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements("css selector", selector)

    def wait(self, selector: str, count: int = 1) -> list[Any]:
        def found() -> list[Any]:
            elements = self.all(selector)
            return elements if len(elements) >= count else []

        return until(found, f"{selector} did not come:\n{self.text[:900]}")

    @property
    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def says(self, text: str) -> None:
        until(lambda: text in self.text, f"{text!r} is not said in:\n{self.text[:1500]}")

    @property
    def names(self) -> list[str]:
        """What the results open, in the order of the document."""
        script = "return [...document.querySelectorAll('.st-key-results .cm-tile')].map((e) => e.ariaLabel)"
        return list(self.browser.execute_script(script))

    def ask(self, words: str) -> list[str]:
        from selenium.webdriver.common.keys import Keys

        before = self.names
        box = self.wait("input[type=search]")[0]
        box.send_keys(Keys.CONTROL + "a")
        box.send_keys(words + Keys.ENTER)

        def answered() -> list[str]:
            """Return the names once they stay: on a busy machine those of the last answer go one after the other."""
            names = self.names
            time.sleep(0.5)
            return names if names != before and self.all(".cm-score") and self.names == names else []

        return until(answered, f"no answer:\n{self.browser.current_url}\n{self.text[:900]}")

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    @property
    def title(self) -> str:
        """The title of the large view, "" where it is closed."""
        dialogs = self.all("[role=dialog]")
        return str(dialogs[0].text.split("\n")[0]) if dialogs else ""


def test_a_first_visitor_sees_results_within_seconds(served: str, browser: "Chrome") -> None:
    """First in this file: the server has just started, and nothing is drawn."""
    session = Session(browser, served)
    started = time.monotonic()
    session.go()
    session.wait("[role=tab]", 2)
    tabs = time.monotonic() - started
    session.wait(".cm-tile", 10)
    tiles = time.monotonic() - started
    names = session.ask("two orange houses in the snow")
    print(f"tabs after {tabs:.1f} s, photos after {tiles:.1f} s, an answer after {time.monotonic() - started:.1f} s")
    assert any("orange" in name for name in names[:3])
    assert tiles < 30  # on a busy machine; a few seconds on an idle one
    assert "drawings made by this project" in session.text and "needs no training" in session.text
    session.go()  # a reload loses nothing of the drawing
    session.wait(".cm-tile img", 15)


def test_the_address_brings_back_what_was_seen(served: str, browser: "Chrome") -> None:
    session = Session(browser, served).go()
    session.wait(".cm-tile", 10)
    first = session.ask("a red car")
    second = session.ask("a boat on a lake")
    assert "words=a+boat+on+a+lake" in browser.current_url
    browser.back()
    until(lambda: session.names == first)
    assert session.wait("input[type=search]")[0].get_attribute("value") == "a red car"
    browser.forward()
    until(lambda: session.names == second)
    browser.refresh()
    until(lambda: session.names == second)
    browser.get(browser.current_url)
    until(lambda: session.names == second)


@SIZES
def test_the_grid_is_in_rank_order(project: Path, served: str, browser: "Chrome", width: int, height: int) -> None:
    session = Session(browser, served, width, height).go("?words=a+dog+on+a+beach&count=20&weaker=1")
    session.wait(".cm-score", 20)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.st-key-results .cm-tile')].map((e) => {"
        "const box = e.getBoundingClientRect(); return [box.top, box.left, box.width, box.height]})"
    )
    assert boxes == sorted(boxes)  # rows from above, each from the left
    assert len({round(box[2]) for box in boxes}) == len({round(box[3]) for box in boxes}) == 1
    in_first_row = sum(box[0] == boxes[0][0] for box in boxes)
    assert in_first_row == 2 if width < 600 else in_first_row >= 4
    # Hubs are ranked lower, so the cosines that are shown need not fall.
    search = open_search(Place(checkpoint=checkpoint_of(project / "model-checkpoints" / "shipped")))
    expected = [hit.score for hit in search.photos(search.query("a dog on a beach"), 20, cut_off=False).hits]
    scores, alts, urls = browser.execute_script(  # at once, since the page may draw them anew
        "const all = (what, of) => [...document.querySelectorAll(what)].map(of);"
        "return [all('.cm-score', (e) => e.textContent), all('.cm-tile img', (e) => e.alt), all('.cm-tile img', (e) => e.src)]"
    )
    assert list(map(float, scores)) == pytest.approx(expected, abs=0.02)
    assert len(alts) == len(expected) and all(alts) and all(url.startswith(served) for url in urls)
    assert browser.execute_script("return document.querySelector('[data-testid=stMain]').scrollWidth") <= width


def test_the_keyboard_alone(served: str, browser: "Chrome") -> None:
    from selenium.webdriver.common.keys import Keys

    session = Session(browser, served).go("?words=two+orange+houses+in+the+snow")
    session.wait(".cm-score", 10)
    focused = "return document.activeElement.ariaLabel ?? ''"
    session.wait("input[type=search]")[0].click()
    for _ in range(15):
        session.press(Keys.TAB)
        if browser.execute_script(focused).startswith("Open photo 1,"):
            break
    name = browser.execute_script(focused)
    assert name.startswith("Open photo 1,")
    session.press(Keys.ENTER)
    first = until(lambda: session.title)
    assert first in name
    session.wait("[role=dialog] .cm-small .cm-tile", 5)
    entries = browser.execute_script("return history.length")
    for _ in range(4):  # faster than the server answers
        session.press(Keys.ARROW_RIGHT)
    fifth = until(lambda: session.title not in ("", first) and session.title in session.names[4] and session.title)
    session.says("5 of ")
    session.press(Keys.ARROW_LEFT * 4)
    until(lambda: session.title == first)
    assert fifth != first and browser.execute_script("return history.length") == entries
    session.press(Keys.ESCAPE)
    until(lambda: not session.title)
    until(lambda: browser.execute_script(focused) == name)  # the keyboard goes on where it was


OPENED = """
document.querySelectorAll("details:not([open]) > summary").forEach((summary) => summary.click());
// What is shown again is paler for a moment, so the page has to be at rest too.
const rests = !document.querySelector("[data-stale=true]") && !document.getAnimations().some((one) => one.playState === "running")
  && document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning";
return rests && !document.querySelector("details:not([open])") && document.querySelectorAll("[role=spinbutton]").length >= 6;
"""
GRID_TWICE = """
const [source, done] = arguments;
const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
import(address).then(({ default: grid }) => {
  document.body.innerHTML = "<div><ul class=cm-grid></ul></div>";
  const show = (url) => grid({
    data: [{ tiles: ["a", "b", "c"].map((id) => ({ id, url: id === "c" ? null : url, opens: `Open ${id}`, score: null })),
      small: false, label: "photos", absent: "no photo" }],
    parentElement: document.body.firstChild, setTriggerValue() {},
  });
  show(null);
  const [first, second, third] = document.querySelectorAll("li");
  second.firstChild.focus();
  show("data:,");  // the photos of two tiles are there now, and their tiles are new
  done([second.isConnected, third.isConnected, document.activeElement.ariaLabel]);
});
"""


def test_the_focus_stays_on_a_photo_while_results_come(browser: "Chrome") -> None:
    browser.get("data:text/html,<title>grid</title>")
    source = (ROOT / "crossmodal" / "page" / "grid.js").read_text(encoding="utf-8")
    assert browser.execute_async_script(GRID_TWICE, source) == [False, True, "Open b"]


def test_the_large_view_is_in_the_history(served: str, browser: "Chrome") -> None:
    session = Session(browser, served).go("?words=two+orange+houses+in+the+snow")
    session.wait(".cm-score", 10)
    session.wait(".st-key-results .cm-tile")[2].click()
    title = until(lambda: session.title)
    assert "photo=" in browser.current_url
    browser.refresh()
    until(lambda: session.title == title)
    session.says("3 of ")
    browser.back()
    until(lambda: not session.title)
    assert "photo=" not in browser.current_url
    browser.forward()
    until(lambda: session.title == title)


def test_the_large_view(served: str, browser: "Chrome") -> None:
    session = Session(browser, served).go("?words=two+orange+houses+in+the+snow")
    session.wait(".cm-score", 10)
    session.wait(".st-key-results .cm-tile")[0].click()
    first = until(lambda: session.title)
    similar = session.wait("[role=dialog] .cm-small .cm-tile", 5)
    assert all(first not in tile.get_attribute("aria-label") for tile in similar)
    download = session.wait("[role=dialog] a[download]")[0]
    assert download.get_attribute("download") == first and "/original" in download.get_attribute("href")
    session.wait("[role=dialog] [data-testid=stCheckbox] label")[0].click()
    session.wait("[role=dialog] .cm-view img[src^=pictures]")  # the heat map
    words = session.wait("[role=dialog] .cm-bars li", 6)
    assert [word.text.split("\n")[0] for word in words[:6]] == "two orange houses in the snow".split()
    session.wait("[role=dialog] .cm-small .cm-tile", 5)[0].click()
    until(lambda: session.title not in ("", first))
    session.wait(".st-key-search-like-this button")[0].click()
    until(lambda: not session.title and "like=" in browser.current_url)
    session.says("Photos like")
    session.ask("a red car")
    assert "like=" not in browser.current_url


def test_a_picture_is_searched_with(served: str, browser: "Chrome", tmp_path: Path) -> None:
    session = Session(browser, served).go()
    session.wait(".cm-tile", 10)
    _, images = draw_sample(tmp_path / "drawn", 3, seed=99)
    photo = tmp_path / "photo.png"
    Image.open(sorted(images.iterdir())[0]).save(photo)
    session.wait(".cm-picture input")[0].send_keys(str(photo))
    session.says("Captions for your picture")
    session.wait(".cm-bars li", 5)
    alone = until(lambda: session.names if session.all(".cm-score") else None)
    assert "picture=" in browser.current_url
    both = session.ask("a boat on a lake at night")
    assert both != alone and "picture=" in browser.current_url
    browser.refresh()
    until(lambda: session.names == both)
    (tmp_path / "broken.jpg").write_text("no photo")
    session.wait(".cm-picture input")[0].send_keys(str(tmp_path / "broken.jpg"))
    session.says("broken.jpg is not a photo")
    until(lambda: "picture=" not in browser.current_url)  # what was found with the one before is no answer
    session.says("broken.jpg is not a photo")
    paste = (
        "const data = new DataTransfer(); data.items.add(new File([await (await fetch(arguments[0])).blob()], 'a.jpg', {type: 'image/jpeg'}));"
        "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))"
    )
    before = browser.current_url
    source = session.all(".st-key-results .cm-tile img")[5].get_attribute("src")
    browser.execute_script(f"(async () => {{{paste.replace('arguments[0]', repr(source))}}})()")
    until(lambda: browser.current_url != before)


def test_a_folder_is_indexed_and_searched(served: str, browser: "Chrome", tmp_path: Path) -> None:
    _, images = draw_sample(tmp_path / "mine", 40, seed=5)
    (images / "broken.jpg").write_text("no photo")
    session = Session(browser, served).go(f"?gallery=folder&folder={images}")
    session.wait(".st-key-index-photos button")[0].click()
    session.says("40 photos in the index")
    session.says("1 file cannot be used")
    session.wait(".st-key-results .cm-tile", 20)
    assert session.ask("a house in the snow")
    assert "drawings made by this project" not in session.text  # that is said of the drawn gallery alone


def test_months_and_places_are_clicked(served: str, browser: "Chrome", tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    _, images = draw_sample(tmp_path / "mine", 9, seed=5)
    for number, path in enumerate(sorted(images.iterdir())):
        with Image.open(path) as photo:
            photo.save(path, exif=exif_of(gps=(LISBON, PARIS)[number % 2]))
        os.utime(path, (datetime(2019, 1 + number % 3, 5).timestamp(),) * 2)
    session = Session(browser, served).go(f"?gallery=folder&folder={images}")
    session.wait(".st-key-index-photos button")[0].click()
    session.says("9 photos in the index")
    session.wait(".st-key-when-and-where summary")[0].click()

    def click(chart: str, mark: str) -> str:
        session.wait(f"[class*=st-key-{chart}] path[aria-label*='{mark}']")
        before, element = browser.current_url, session.all(f"[class*=st-key-{chart}] path[aria-label*='{mark}']")[-1]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(browser).move_to_element(element).click().perform()
        until(lambda: browser.current_url != before)
        return browser.current_url

    assert "words=2019-02" in click("months", "2019-02")
    session.wait(".st-key-results .cm-tile", 3)
    assert "words=2019-02+in%3A" in click("map-of-places", "place:")
    until(lambda: len(session.names) < 3)


@pytest.mark.parametrize("dark", [False, True])
@SIZES
def test_axe_finds_nothing_serious(served: str, browser: "Chrome", width: int, height: int, dark: bool) -> None:
    script = axe.script()
    session = Session(browser, served, width, height, dark).go()
    session.wait(".cm-tile img", 10)
    assert axe.violations(browser, script) == []
    session.go("?words=two+orange+houses+in+the+snow")
    session.wait(".cm-score", 10)
    assert axe.violations(browser, script) == []
    session.wait(".st-key-results .cm-tile")[0].click()
    session.wait("[role=dialog] .cm-small .cm-tile", 5)
    assert axe.violations(browser, script) == []


def test_axe_finds_nothing_serious_in_a_folder_with_its_filters(served: str, browser: "Chrome", tmp_path: Path) -> None:
    _, images = draw_sample(tmp_path / "mine", 9, seed=5)
    session = Session(browser, served).go(f"?gallery=folder&folder={images}")
    session.wait(".st-key-index-photos button")[0].click()
    session.says("9 photos in the index")
    # By a script, since the page may still be replacing what was there.
    until(lambda: browser.execute_script(OPENED))
    assert axe.violations(browser, axe.script()) == []


def test_what_was_learned(served: str, browser: "Chrome") -> None:
    session = Session(browser, served).go()
    session.wait("[role=tab]", 2)[1].click()
    until(lambda: "tab=learned" in browser.current_url)
    browser.refresh()
    session.says("Recall on the validation photos")
    session.says("Similarity of photos and captions")
    session.wait("[class*=st-key-map] svg.marks", 2)
