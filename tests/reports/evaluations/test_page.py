"""The pages of an evaluation: whole in themselves, with every table, curve and picture."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image
from written_evaluations import write_evaluation

from openlvm.core.images import write_image
from openlvm.reports.evaluations.page import write_pages
from openlvm.reports.evaluations.pictures import SIDE

VOID = {"meta", "img", "br", "rect", "path", "line", "circle", "polyline", "polygon"}


class Nesting(HTMLParser):
    """Stops at a tag that closes what is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.links, self.ids = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.sources += [told[name] for name in ("src", "srcset", "data") if name in told]
        self.links += [told["href"]] if "href" in told else []
        self.ids |= {told["id"]} if "id" in told else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


def read_page(at):
    text = (at / "report.html").read_text()
    page = Nesting()
    page.feed(text)
    assert page.open == []
    return text, page


def test_page_is_whole_in_itself(tmp_path):
    write_pages(write_evaluation(tmp_path))
    text, page = read_page(tmp_path)
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources) and len(page.sources) == 6
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links) and len(page.links) == 3
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|<script", text)
    assert 'name="viewport" content="width=device-width' in text


def test_page_tells_what_stands_in_the_report(tmp_path):
    write_pages(write_evaluation(tmp_path))
    text, _ = read_page(tmp_path)
    for words in ("made-up", "By hand.", "large &lt;1&gt;", "Bai &amp; al.", "Fig. 4", "small in x: too long",
                  "As written &amp; read.", "list abc", "By model size", "By what is shown", "context frames",
                  "perplexity by label", "Episode 0"):  # fmt: skip
        assert words in text, words
    assert "Fig. 5" not in text  # a published row of none of these columns
    assert "compares with no" not in text and "compare with no" not in text
    captions = re.findall(r"<figcaption>([^<]*)</figcaption>", text)
    assert captions == ["example", "answer", "query", "truth", "small", "copy"]


def test_packaged_pages_say_that_they_compare_with_nothing(tmp_path):
    write_pages(write_evaluation(tmp_path, packaged=True))
    text, _ = read_page(tmp_path)
    assert "these numbers compare with no published one" in text
    assert "stroke-dasharray" not in text  # published curves are of other pictures


def test_pictures_are_thumbnails(tmp_path):
    write_pages(write_evaluation(tmp_path))
    _, page = read_page(tmp_path)
    with Image.open(io.BytesIO(base64.b64decode(page.sources[0].split(",")[1]))) as picture:
        assert picture.size == (SIDE // 2, SIDE)  # of 100 x 200


def test_sheets_and_several_seeds(tmp_path):
    write_evaluation(tmp_path, seeds=(2, 5), sheets=[["strange prompts", "What comes next?"]])
    write_image(tmp_path / "sheets/strange prompts/small.png", np.zeros((30, 60, 3), np.uint8))
    write_pages(tmp_path)
    text, page = read_page(tmp_path)
    assert "strange prompts" in text and "What comes next?" in text and len(page.sources) == 7
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources)
    assert "Seeds 2, 5." in text and "standard deviation over seeds" in text
    assert "![strange prompts](sheets/strange prompts/small.png)" in (tmp_path / "report.md").read_text()


def test_markdown_links_the_curves_that_are_there(tmp_path):
    write_pages(write_evaluation(tmp_path))
    text = (tmp_path / "report.md").read_text()
    plots = re.findall(r"!\[[^]]*\]\((plots/[^)]+)\)", text)
    assert sorted(plots) == [f"plots/{name}.svg" for name in ("1-frames", "3-frames", "context-frames", "zebra")]
    for plot in plots:
        assert (tmp_path / plot).read_text().startswith("<svg xmlns=")
    assert "## zebra" in text and "- left out: small in x: too long" in text and (tmp_path / "scores.csv").exists()


def test_pages_repeat(tmp_path):
    write_evaluation(tmp_path)
    write_pages(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_pages(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
