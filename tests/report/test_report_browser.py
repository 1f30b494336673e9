"""The page in headless Chromium, as wide as a laptop and as a phone: no errors, tables sort, the timeline zooms and tells what a bar is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from made_page import Made, make_page
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE, PHONE = 1400, 390
PLOT = "document.getElementById('timeline-plot')"


BOX = "const box = arguments[0].getBoundingClientRect(); return [box.x, box.y, box.width, box.height]"


def find_browser() -> tuple[str, str]:
    """Return browser and driver, or skip where they are absent and not required."""
    browser, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    absent = "no headless browser: install chromium and chromium-driver (Debian's packages)"
    if os.environ.get("SOCSIM_REQUIRE_BROWSER") == "1":
        pytest.fail(absent)
    pytest.skip(absent)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    find_browser()
    return make_page(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module", params=[WIDE, PHONE])
def width(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


@pytest.fixture(scope="module")
def chrome(made: Made, width: int) -> Iterator[Chrome]:
    browser, driver = find_browser()
    options = ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options, Service(executable_path=driver))
    try:
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == PHONE}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        if width == PHONE:
            chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
        chrome.get(made.path.as_uri())
        wait_for(lambda: chrome.find_elements(By.CSS_SELECTOR, ".buttons:not([hidden]) button"))
        yield chrome
    finally:
        chrome.quit()


def run(chrome: Chrome, script: str, *arguments: object) -> Any:
    """Return what JavaScript returns."""
    return chrome.execute_script(script, *arguments)


def tap(chrome: Chrome, x: float, y: float, up: float = 0) -> None:
    """Put a finger on the screen, move it up a way, and lift it."""
    chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 9) if up else ():
        chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - up * step / 8}]})
    chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def middle(chrome: Chrome, element: WebElement) -> tuple[float, float]:
    """Return where on the screen the middle of an element is."""
    left, top, width, height = run(chrome, BOX, element)
    return left + width / 2, top + height / 2


def errors(chrome: Chrome) -> list[dict[str, Any]]:
    """Return what the console says."""
    found: list[dict[str, Any]] = chrome.get_log("browser")  # type: ignore[no-untyped-call]
    return found


def wait_for(found: Callable[[], Any]) -> Any:
    """Return what is found, once it is there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    pytest.fail("not found within 20 s")


def span(chrome: Chrome) -> tuple[float, float]:
    """Return the part of the time that is shown, in ms."""
    left, right = run(chrome, f"return {PLOT}._fullLayout.xaxis.range")
    return left, right


def press(chrome: Chrome, name: str) -> tuple[float, float]:
    """Press a button of the timeline and return what is then shown."""
    before = span(chrome)
    run(chrome, f"{PLOT}.scrollIntoView({{block: 'center'}})")
    (button,) = (each for each in chrome.find_elements(By.CSS_SELECTOR, ".buttons button") if each.text == name)
    if run(chrome, "return matchMedia('(pointer: coarse)').matches"):  # a mouse beside the finger would take the label away
        tap(chrome, *middle(chrome, button))
    else:
        button.click()
    wait_for(lambda: span(chrome) != before)
    return span(chrome)


def column(table: WebElement, place: int) -> list[str]:
    return [row.find_elements(By.CSS_SELECTOR, "td, th")[place].text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]


def test_nothing_goes_wrong(chrome: Chrome) -> None:
    assert errors(chrome) == []


def test_nothing_is_wider_than_the_screen(chrome: Chrome, width: int) -> None:
    run(chrome, "for (const each of document.querySelectorAll('details')) each.open = true")
    inner, content = run(chrome, "return [innerWidth, document.documentElement.scrollWidth]")
    assert inner == width
    assert content <= width


def test_images_are_shown(chrome: Chrome) -> None:
    sizes = run(chrome, "return [...document.images].map((image) => image.naturalWidth)")
    assert len(sizes) == 3
    assert min(sizes) > 100


def test_tables_sort_numbers_as_numbers_and_keep_empty_cells_last(chrome: Chrome) -> None:
    tables = chrome.find_elements(By.CSS_SELECTOR, "#hand_made table.sortable")
    (table,) = (table for table in tables if "time (s)" in table.text)
    name, seconds = table.find_elements(By.CSS_SELECTOR, "thead th")
    assert column(table, 0) == ["ten", "nine", "none", "many"]
    run(chrome, "arguments[0].scrollIntoView({block: 'center'})", table)
    seconds.find_element(By.TAG_NAME, "button").click()
    assert (column(table, 1), seconds.get_attribute("aria-sort")) == (["9", "10", "12,340", ""], "ascending")
    seconds.find_element(By.TAG_NAME, "button").send_keys("\n")  # by keyboard
    assert (column(table, 1), seconds.get_attribute("aria-sort")) == (["12,340", "10", "9", ""], "descending")
    name.find_element(By.TAG_NAME, "button").click()
    assert column(table, 0) == ["many", "nine", "none", "ten"]
    assert (name.get_attribute("aria-sort"), seconds.get_attribute("aria-sort")) == ("ascending", None)


def test_verdicts_sort_from_the_best_on(chrome: Chrome) -> None:
    table = chrome.find_element(By.CSS_SELECTOR, "#summary table")
    (place,) = (place for place, head in enumerate(table.find_elements(By.CSS_SELECTOR, "thead th")) if head.text == "verdict")
    button = table.find_elements(By.CSS_SELECTOR, "thead button")[place]
    run(chrome, "arguments[0].click()", button)
    words = column(table, place)
    assert words[-2:] == ["roughly agrees", "disagrees"]
    assert set(words[:-2]) == {"agrees"}


def test_the_timeline_zooms_and_moves_inside_of_the_run(chrome: Chrome) -> None:
    whole = span(chrome)
    left, right = press(chrome, "Zoom in")
    assert right - left == pytest.approx((whole[1] - whole[0]) / 2)
    moved = press(chrome, "Earlier")
    assert moved[0] == pytest.approx(left - (right - left) / 2)
    assert press(chrome, "Later") == pytest.approx((left, right))
    assert press(chrome, "Later") == pytest.approx((left + (right - left) / 2, right + (right - left) / 2))
    assert press(chrome, "Zoom out") == pytest.approx(whole)  # no further than the run is long
    press(chrome, "Zoom in")
    assert press(chrome, "Whole run") == pytest.approx(whole)


def middle_of_a_bar(chrome: Chrome) -> tuple[float, float]:
    """Return the middle of a bar inside of what is shown."""
    script = f"""
        {PLOT}.scrollIntoView({{block: "center"}});
        const area = {PLOT}.querySelector(".nsewdrag").getBoundingClientRect();
        const bars = [...{PLOT}.querySelectorAll(".bars .point path")].map((bar) => bar.getBoundingClientRect());
        const bar = bars.find((bar) => bar.width > 12 && bar.width < area.width / 2 && bar.left > area.left && bar.right < area.right);
        return [bar.left + bar.width / 2, bar.top + bar.height / 2];
    """
    x, y = run(chrome, script)
    return x, y


def test_a_bar_tells_what_it_is(chrome: Chrome, width: int) -> None:
    for _ in range(4):
        press(chrome, "Zoom in")
    x, y = middle_of_a_bar(chrome)
    if width == PHONE:
        tap(chrome, x, y)
    else:
        chrome.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
    label = wait_for(lambda: chrome.find_elements(By.CSS_SELECTOR, "#timeline-plot .hoverlayer .hovertext"))[0]
    for word in ("chunk ", "block ", " ms", "own time", "DRAM ", "operations"):
        assert word in label.text
    box = label.rect
    assert box["x"] >= -2
    assert box["x"] + box["width"] <= width + 2
    press(chrome, "Whole run")


@pytest.mark.parametrize("width", [WIDE], indirect=True, scope="module")
def test_wheel_and_drag_zoom_and_move(chrome: Chrome) -> None:
    before = span(chrome)
    run(chrome, f"{PLOT}.scrollIntoView({{block: 'center'}})")
    x, y = middle(chrome, chrome.find_element(By.CSS_SELECTOR, "#timeline-plot .nsewdrag"))
    chrome.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -400})
    wait_for(lambda: span(chrome)[1] - span(chrome)[0] < before[1] - before[0])
    press(chrome, "Zoom in")
    left, right = press(chrome, "Zoom in")
    for kind, shift, buttons in (("mousePressed", 0, 1), ("mouseMoved", 20, 1), ("mouseMoved", 90, 1), ("mouseReleased", 90, 0)):
        mouse = {"type": kind, "x": x + shift, "y": y, "button": "left", "buttons": buttons, "clickCount": 1}
        chrome.execute_cdp_cmd("Input.dispatchMouseEvent", mouse)
    wait_for(lambda: span(chrome)[0] < left)
    assert span(chrome)[1] - span(chrome)[0] == pytest.approx(right - left)
    press(chrome, "Whole run")


@pytest.mark.parametrize("width", [PHONE], indirect=True, scope="module")
def test_a_finger_on_the_timeline_scrolls_the_page(chrome: Chrome) -> None:
    before = span(chrome)
    run(chrome, f"{PLOT}.scrollIntoView({{block: 'center'}})")
    x, y = middle(chrome, chrome.find_element(By.CSS_SELECTOR, "#timeline-plot .nsewdrag"))
    top = run(chrome, "return scrollY")
    tap(chrome, x, y, up=120)
    wait_for(lambda: run(chrome, "return scrollY") > top + 50)
    assert span(chrome) == before


def test_paper_shows_everything_but_what_is_too_long(chrome: Chrome) -> None:
    run(chrome, "for (const each of document.querySelectorAll('details')) each.open = false")
    run(
        chrome,
        """
        window.seen = [];
        addEventListener("beforeprint", () => seen.push(...[...document.querySelectorAll("details")].map((each) => each.open)));
    """,
    )
    chrome.execute_cdp_cmd("Page.printToPDF", {})
    long = run(chrome, "return [...document.querySelectorAll('details')].map((each) => each.matches('.long'))")
    assert run(chrome, "return seen") == [not each for each in long]
    assert not any(run(chrome, "return [...document.querySelectorAll('details')].map((each) => each.open)"))
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return ['.interactive', '.static img'].map((name) => document.querySelector(name).getBoundingClientRect().height > 0)"
    assert run(chrome, shown) == [False, True]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_still_nothing_went_wrong(chrome: Chrome) -> None:
    assert errors(chrome) == []
