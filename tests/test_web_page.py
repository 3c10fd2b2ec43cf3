"""The server's web page in Chromium, as its user meets it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.test_page import runs as runs  # a fixture
from tests.test_serving import cache as cache  # a fixture
from tests.test_serving import running

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.real
SECONDS = 60.0


@pytest.fixture
def url(runs: Path, cache: Path) -> Iterator[str]:
    with running(cache, "--checkpoints", str(runs)) as (_, address):
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


def asked(page: "Chrome") -> list[str]:
    """What was asked of the server so far, by the page itself."""
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    return [
        one["params"]["request"]["url"] for one in messages
        if one["method"] == "Network.requestWillBeSent" and "request" in one["params"]
    ]  # fmt: skip


@pytest.mark.parametrize("width", [390, 820, 1400])
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
    assert page.find_elements("css selector", "#captions li")
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        at(page, "query").clear()
        at(page, "query").send_keys("a red car")
        found(page, "a red car")
        assert not page.find_elements("css selector", "#captions li")
        page.execute_script(f"""
            const data = new DataTransfer();
            data.items.add(document.getElementById("file").files[0]);
            const event = new Event("{event}", {{bubbles: true, cancelable: true}});
            event.{carrier} = data;
            document.body.dispatchEvent(event);
        """)
        found(page, "like your photo")
        assert page.find_elements("css selector", "#captions li")
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    at(page, "file").send_keys(str(tmp_path / "no.jpg"))
    until(lambda: "not a photo that can be read" in text_of(page, "status"))


def test_similar_photos_examples_and_colours(page: "Chrome") -> None:
    page.find_element("css selector", "#examples button").click()
    found(page, "two dogs in the snow")
    photos(page)[0].click()
    until(lambda: at(page, "large").is_displayed())
    at(page, "similar").click()
    found(page, "like the one you chose")
    assert page.find_elements("css selector", "#captions li")
    colours = set()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours.add(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
