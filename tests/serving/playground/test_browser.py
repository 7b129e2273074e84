"""The page as people use it, in Debian's Chromium: with a mouse, with keys alone, on a phone; it loads nothing from
elsewhere.
"""

import base64
import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
from http_calls import picture_file

from openlvm.core.images import read_image
from openlvm.prompting.lvm import LVM
from openlvm.serving.server import running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
WAIT = 60_000  # milliseconds, on a machine that does much else


@pytest.fixture(scope="module")
def server():
    """`mini` twice, so that there is something to put side by side."""
    mini = LVM.load("mini")
    with running({"mini": mini, "twin": mini}, has_page=True) as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(server, browser):
    """Call with options of a context: the page, with its examples; nothing was asked from elsewhere, nothing failed."""
    with contextmanager(open_pages)(server, browser) as start:
        yield start


def open_pages(server, browser):
    asked, failed, contexts = [], [], []

    def start(**options):
        contexts.append(browser.new_context(accept_downloads=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(server.url)
        page.wait_for_selector(".lvm-examples button")
        return page

    yield start
    for context in contexts:
        context.close()
    assert asked and [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    assert failed == []


def load(page, name: str) -> None:
    page.locator(".lvm-examples button", has_text=name).first.click()
    page.wait_for_selector(".slot img")


def draw(page) -> None:
    page.locator("#lvm-run").click()
    page.wait_for_selector(".lvm-answer [role=status]", state="attached")
    page.wait_for_selector(".lvm-answer pre")


def saved(page, press) -> bytes:
    """The file that a press downloads."""
    with page.expect_download() as told:
        press()
    with open(told.value.path(), "rb") as file:
        return file.read()


def test_an_example_is_drawn_taken_home_and_repeated(opened, tmp_path):
    page = opened(viewport={"width": 1280, "height": 900})
    before = page.locator(".lvm-answer").screenshot()
    load(page, "segmentation")
    page.locator("#lvm-run").click()
    partial = page.wait_for_selector(".lvm-answer .drawing img")  # row by row, before it is whole
    assert partial.is_visible()
    page.wait_for_selector(".lvm-answer pre")
    after = page.locator(".lvm-answer").screenshot()
    assert not np.array_equal(read_image(before), read_image(after)[: read_image(before).shape[0]])
    assert page.locator(".lvm-answer .truth img").count() == 1

    shown = read_image(saved(page, page.get_by_label("Download candidate-0-image-0.png").click))
    archive = saved(page, page.get_by_label("Download everything.zip").click)
    with zipfile.ZipFile(io.BytesIO(archive)) as everything:
        everything.extractall(tmp_path)
    program = page.locator(".lvm-answer pre code").inner_text()
    assert (tmp_path / "repeat.py").read_text().split() == program.split()
    assert "exact=True" in program
    (tmp_path / "printed.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "printed.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read_image((tmp_path / "repeated" / "candidate-0-image-0.png").read_bytes()), shown)
    for number in range(4):
        name = f"candidate-{number}-image-0.png"
        repeated, answered = (read_image((tmp_path / at / name).read_bytes()) for at in ("repeated", "answer"))
        assert np.array_equal(repeated, answered)


def environment() -> dict[str, str]:
    """Where this OpenLVM is found."""
    import openlvm

    root = os.path.dirname(os.path.dirname(openlvm.__file__))
    return {**os.environ, "PYTHONPATH": root}


@pytest.mark.slow
def test_layers_are_other_pixels(opened):
    page = opened()
    load(page, "depth")
    draw(page)
    figure = page.locator(".lvm-answer figure").first
    seen = set()
    for label in ("Picture", "Entropy", "Read as mask", "Read as depth"):
        page.locator(".switches label", has_text=label).click()
        assert figure.locator("img:visible").count() == 1
        seen.add(read_image(figure.locator("img:visible").screenshot()).tobytes())
    assert len(seen) == 4


def test_keys_alone_suffice(opened):
    page = opened()

    def press_until(selector: str, limit: int = 80) -> None:
        for _ in range(limit):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab never came to {selector}")

    press_until(".lvm-examples button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".slot img")
    press_until("[data-key='mode.analogy']")
    page.keyboard.press("ArrowRight")
    assert page.locator("[aria-selected=true]").inner_text() == "Continue frames"
    page.keyboard.press("ArrowLeft")
    first = page.locator(".pairs .slot").first.get_attribute("aria-label")
    press_until("[data-key='0.0.later']")
    page.keyboard.press("Enter")  # the first pair goes down, and the focus with it
    assert page.evaluate("document.activeElement.dataset.key") == "0.1.later"
    assert page.locator(".pairs .slot").nth(2).get_attribute("aria-label").split(": ")[1] == first.split(": ")[1]
    press_until("[data-key='0.2.0']")
    page.keyboard.press("Delete")
    assert page.locator(".pairs .slot img").count() == 5
    press_until("[data-key='0.2.remove']")
    page.keyboard.press("Enter")
    assert page.locator(".pairs .slot img").count() == 4
    press_until("#lvm-run")
    page.keyboard.press("Enter")
    page.wait_for_selector(".lvm-answer pre")
    assert page.locator(".truth").count() == 0  # the example was changed
    press_until(".switches input")
    page.keyboard.press("ArrowRight")
    assert page.locator(".switches input:checked").get_attribute("value") == "entropy"
    press_until(".lvm-answer button[data-file='codes.npy']")
    codes = np.load(io.BytesIO(saved(page, lambda: page.keyboard.press("Enter"))))
    assert codes.shape == (4, 1, 64)


@pytest.mark.slow
def test_own_pictures_are_picked_dropped_and_dragged(opened, tmp_path):
    page = opened()
    for number in range(4):
        picture = np.full((20, 20, 3), 60 * number, np.uint8)
        (tmp_path / f"{number}.png").write_bytes(picture_file(picture))
    (tmp_path / "notes.txt").write_text("no picture")
    page.get_by_role("tab", name="Continue frames").click()
    with page.expect_file_chooser() as chooser:
        page.locator("[data-key='0.add']").click()
    chooser.value.set_files([tmp_path / name for name in ("0.png", "1.png", "2.png", "notes.txt")])
    page.wait_for_selector(".strip li:nth-child(3) img")
    assert "notes.txt is no PNG, JPEG or WebP" in page.locator(".says").inner_text()
    page.locator(".strip li").nth(0).drag_to(page.locator(".strip li").nth(2))
    labels = [one.get_attribute("aria-label") for one in page.locator(".strip .slot").all()]
    assert [label.split(": ")[1].split(";")[0] for label in labels] == ["1.png", "2.png", "0.png"]
    transfer = page.evaluate_handle(
        """text => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
            return data;
        }""",
        base64.b64encode((tmp_path / "3.png").read_bytes()).decode(),
    )
    page.locator("section").first.dispatch_event("drop", {"dataTransfer": transfer})
    page.wait_for_selector(".strip li:nth-child(4) img")
    draw(page)
    assert '["1.png", "2.png", "0.png", "dropped.png"]' in page.locator(".lvm-answer pre").inner_text()
    assert page.locator(".lvm-answer figure").first.locator("img:visible").count() == 2  # frames


@pytest.mark.slow
def test_two_lvms_stop_and_leaving(opened, server):
    page = opened()
    load(page, "puzzle of color")
    page.get_by_label("Beside it").click()
    page.get_by_role("option", name="twin").click()
    page.locator("#lvm-run").click()
    page.locator(".lvm-answer pre").nth(1).wait_for()
    assert page.locator(".column h3").all_inner_texts()[0].startswith("mini, ")
    assert page.locator(".chosen").count() == 2
    load(page, "next view")
    page.get_by_label("number input for Candidates").fill("16")
    page.locator("#lvm-run").click()
    page.wait_for_selector(".lvm-answer .drawing")
    page.locator("#lvm-stop").click()
    page.get_by_text("Stopped.").first.wait_for()
    idle(server)
    page.locator("#lvm-run").click()
    page.wait_for_selector(".lvm-answer .drawing")
    page.close()
    idle(server)


def idle(server) -> None:
    """Returns when nothing is drawn any more, well before all would be drawn."""
    end = time.monotonic() + 15
    while server.service.requests.taken or any(server.service.worker.state().values()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_phone_shows_all_of_it(opened):
    page = opened(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page.locator(".lvm-examples button").first.tap()
    page.wait_for_selector(".slot img")
    page.locator("#lvm-run").tap()
    page.wait_for_selector(".lvm-answer pre")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_pictures_go_where_they_were_dropped_although_the_mode_changes_meanwhile(opened, tmp_path):
    page = opened()
    (tmp_path / "late.png").write_bytes(picture_file(np.zeros((20, 20, 3), np.uint8)))
    page.evaluate(
        """() => {
            const read = FileReader.prototype.readAsDataURL;
            FileReader.prototype.readAsDataURL = function (file) { setTimeout(() => read.call(this, file), 1000); };
        }"""
    )
    page.get_by_role("tab", name="Continue frames").click()
    with page.expect_file_chooser() as chooser:
        page.locator("[data-key='0.add']").click()
    chooser.value.set_files([tmp_path / "late.png"])
    page.get_by_role("tab", name="Analogy").click()
    page.wait_for_timeout(2000)
    assert page.locator(".slot img").count() == 0
    page.get_by_role("tab", name="Continue frames").click()
    assert page.locator(".strip .slot img").count() == 1
