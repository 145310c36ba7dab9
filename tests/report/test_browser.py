"""The pages in a real browser: drawn, clicked, used with the keyboard, on a phone, in the dark."""

import re
import shutil
from collections.abc import Iterator

import pytest

from canvas_rl.report import gallery_page, read_run, report_page

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Google Chrome on the PATH")
DRAWN = "html[data-charts=drawn]"
OPENED = "dialog[open] .drawing svg"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(finished, make_run, tmp_path_factory):
    """Files of a report on two runs, one of an odd name, and of a gallery."""
    folder = tmp_path_factory.mktemp("pages")
    other = make_run(folder / "<b>other & co", seed=1, agent="genetic")
    written = {"report": report_page([read_run(finished), read_run(other)]), "gallery": gallery_page()}
    written["empty"] = report_page([read_run(make_run(folder / "empty", evaluations=0))])
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in written}


class Visitor:
    """Opens pages, and remembers what a browser complained of and what was asked of a network."""

    def __init__(self, browser, pages):
        self.browser, self.pages = browser, pages
        self.problems: list[str] = []

    def open(self, name, address="", width=1280, scheme="light"):
        page = self.browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and self.problems.append(said.text))
        page.on("request", lambda asked: asked.url.startswith(("http", "ws")) and self.problems.append(asked.url))
        page.goto(self.pages[name] + address)
        if name == "report":
            page.wait_for_selector(DRAWN)
        return page


@pytest.fixture(scope="module")
def visitor(browser, pages):
    return Visitor(browser, pages)


@pytest.fixture
def visit(visitor):
    """Opens a page; at the end nobody may have complained."""
    yield visitor.open
    assert visitor.problems == []


@pytest.fixture(scope="module")
def opened(visitor):
    return visitor.open("report")


@pytest.fixture
def report(opened, visitor):
    """The report on a desktop, opened once for all tests."""
    opened.evaluate("document.getElementById('kernel').close()")
    yield opened
    assert visitor.problems == []


def brightness(page) -> int:
    return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))


LONELY = """() => {
    const chart = document.getElementById("front-chart");
    chart.scrollIntoView({ block: "center", behavior: "instant" });
    const { xaxis, yaxis } = chart._fullLayout, corner = chart.getBoundingClientRect();
    const points = chart.data.flatMap((trace) => trace.x.map((x, index) => ({
        kernel: trace.customdata?.[index],
        x: corner.left + xaxis._offset + xaxis.d2p(x),
        y: corner.top + yaxis._offset + yaxis.d2p(trace.y[index]),
    })));
    const room = (point) => Math.min(...points.filter((other) => other.kernel !== point.kernel)
        .map((other) => Math.hypot(other.x - point.x, other.y - point.y)));
    return points.filter((point) => point.kernel).sort((a, b) => room(b) - room(a))[0];
}"""
"""A point of the chart that stands alone, and where it is."""


def test_a_click_on_a_point_opens_its_kernel_and_escape_closes_it(report):
    point = report.evaluate(LONELY)
    report.mouse.move(point["x"] - 2, point["y"])
    report.mouse.click(point["x"], point["y"])
    report.wait_for_selector(OPENED)
    assert point["kernel"][:8] in report.locator("#kernel-title").inner_text()
    dialog = report.locator("dialog").inner_text()
    for part in ("class Kernel_", "Place by place", "8@4x4", "evaluation", "reward", "Measurements in the store"):
        assert part in dialog, part
    assert report.evaluate("location.hash") == f"#kernel={point['kernel']}"
    report.keyboard.press("Escape")
    assert not report.locator("dialog").is_visible()
    assert report.evaluate("location.hash") == ""


def test_a_failed_and_a_skipped_kernel_say_why(report, finished):
    trials = read_run(finished).trials
    for number, said in ((3, "not_finite: the output has a NaN & more <b>"), (5, "skipped: predicted to be too slow")):
        report.evaluate(f"location.hash = '#kernel={trials[number].kernel}'")
        report.locator("dialog .notice", has_text=said).wait_for()
        report.keyboard.press("Escape")


def test_the_table_is_sorted_and_filtered_with_the_keyboard(report):
    rows = report.locator("#kernel-table tbody tr")
    assert rows.count() == 24
    report.locator("#kernel-table th button", has_text="Speedup").focus()
    report.keyboard.press("Enter")
    assert report.locator("#kernel-table th[aria-sort=descending]").inner_text().startswith("Speedup")
    shown = [text for text in report.locator("#kernel-table td:nth-child(6)").all_inner_texts() if text != "–"]
    speedups = [float(text.rstrip("×")) for text in shown]
    assert len(speedups) > 10
    assert speedups == sorted(speedups, reverse=True)
    report.select_option("#kernel-controls select >> nth=1", "1")
    assert rows.count() == 12
    assert report.locator("#kernel-table td:nth-child(2)").first.inner_text() == "<b>other & co"
    report.select_option("#kernel-controls select >> nth=1", "")
    report.locator("[data-status=not_finite]").click()
    assert rows.count() == 1
    report.fill("#kernel-controls input", "no such primitive")
    assert rows.count() == 0
    assert "0 of 0 kernels" in report.locator("#kernel-count").inner_text()


def test_enter_on_a_row_opens_and_closing_gives_the_focus_back(report):
    button = report.locator("#front-table [data-kernel]").first
    button.focus()
    report.keyboard.press("Enter")
    report.wait_for_selector(OPENED)
    assert report.evaluate("document.activeElement.closest('dialog') !== null")
    report.locator("#kernel-close").click()
    assert button.evaluate("element => element === document.activeElement")


def test_other_axes_and_other_courses_are_drawn(report):
    title = "document.getElementById('{}').layout.{}.title.text"
    report.select_option("#front-x", "params")
    report.wait_for_function(title.format("front-chart", "xaxis") + ".startsWith('parameters')")
    report.select_option("#progress-y", "hypervolume")
    report.select_option("#progress-x", "time")
    report.wait_for_function(title.format("progress-chart", "xaxis") + " === 'minutes'")
    assert "hypervolume" in report.evaluate(title.format("progress-chart", "yaxis"))


def test_the_command_is_copied(report):
    report.context.grant_permissions(["clipboard-read", "clipboard-write"])
    report.locator(".command button").first.click()
    report.locator(".command button", has_text="Copied").wait_for()
    assert report.evaluate("navigator.clipboard.readText()").startswith("python -m canvas_rl.train --agent random")


def test_in_the_dark_by_a_link_and_back_to_light(visit, finished):
    kernel = read_run(finished).trials[0].kernel
    page = visit("report", f"#kernel={kernel}", scheme="dark")
    page.wait_for_selector(OPENED)
    assert kernel in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    assert brightness(page) < 150
    dark = page.evaluate("document.getElementById('front-chart').layout.font.color")
    page.locator("#theme").click()
    assert brightness(page) > 600
    page.wait_for_function(f"document.getElementById('front-chart').layout.font.color !== '{dark}'")


@pytest.mark.parametrize("name", ["report", "gallery", "empty"])
def test_a_phone_needs_no_scrolling_to_the_side(visit, name):
    page = visit(name, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if name == "empty":
        assert "no kernel has been evaluated yet" in page.locator("main").inner_text()
        return
    page.locator("[data-kernel], [data-operator]").first.click()
    page.wait_for_selector(OPENED)
    assert page.evaluate("document.getElementById('kernel').scrollWidth") <= 390


def test_an_operator_opens_with_a_tab_for_each_number_of_dims(visit):
    page = visit("gallery")
    page.locator("[data-operator=depthwise_separable]").click()
    page.wait_for_selector(OPENED)
    assert "def __init__(self, c: int, h: int, w: int)" in page.locator("dialog").inner_text()
    page.locator("dialog .tabs button", has_text="1-D").click()
    assert "def __init__(self, c: int, h: int) " in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
