"""The HTML page: what it says, that nothing of a test can do anything in it, and what a real browser makes of it."""

from __future__ import annotations

import dataclasses
import functools
import html.parser
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.report.page import SHOWN_CHARACTERS, SHOWN_REPORTS, page_html, visible
from torch_testing_shim._runner.report.recorded_run import RecordedRun, RunFacts
from torch_testing_shim._runner.result import FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given
from report_samples import GOOD, good_run, hostile_run, sample_run

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: How long the browser may take, in seconds; it takes two, and a loaded machine some more.
BROWSER_TIMEOUT = 120
HOSTILE = (
    "</script></title></style></pre></svg></textarea>-->]]>",
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">",
    "\"'><svg onload=document.title='taken'>{{ 7 * 7 }}{% endif %}",
    "\x00\x01\x1b[31mred\x1b[0m\x7f\x85\ud800\u202egpj.exe\ufeff",
)


class PageReader(html.parser.HTMLParser):
    """The page's elements, what their attributes point to, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@functools.cache
def plain_tags():
    """The tags of a page about a test whose texts are plain."""
    return PageReader(page_html([hostile_run("x")], 1)).tags


class PageTest(TestCase):
    def test_the_cause_comes_first_and_everything_has_its_place(self) -> None:
        text = PageReader(page_html([sample_run()], 130)).text
        order = [
            "interrupted",
            "16\n*passed",
            "Failures",
            "State.test_loaded",
            "rank 2 failed: AssertionError: Tensor-likes are not close!",
            "ranks 0, 1, 3 lost their connection to rank 2",
            "shared: 4 ranks on 1 x",
            "4 ranks",
            "output of rank 2",
            "rank 2 compares",
            "output of rank 0",
            "run again \\(1\\): failed",
            "A.test_slow",
            "last words",
            "Did not run",
            "A.test_later",
            "Flaky",
            "State.test_once",
            "run again \\(1\\): passed",
            "Timeline",
            "Slowest tests",
            "Skipped",
            "needs at least 2 cuda, found 0",
            "Notes",
            "2 . shared: 4 ranks on 1 x",
            "State.test_saved",
            "Files",
            "shim/test_zebra",
        ]
        self.assertRegex(text, re.compile(".*".join(order), re.DOTALL))

    def test_the_page_needs_nothing_else_and_runs_nothing(self) -> None:
        page = PageReader(page_html([sample_run()], 130))
        self.assertEqual(set(), set(page.tags) & {"script", "link", "img", "iframe", "object", "embed", "base", "form"})
        pointing = ("src", "href", "action", "data", "poster", "srcset", "background")
        self.assertEqual([], [pair for pair in page.attributes if pair[0] in pointing or pair[0].startswith("on")])
        self.assertNotIn("url(", page_html([sample_run()], 130))
        self.assertIn(("content", "default-src 'none'; style-src 'unsafe-inline'"), page.attributes)

    def test_a_green_run_shows_no_failures(self) -> None:
        text = PageReader(page_html([good_run()], 0)).text
        self.assertIn("passed", text)
        self.assertNotIn("Failures", text)
        self.assertNotIn("Flaky", text)

    def test_several_runs_are_told_apart_and_what_is_missing_leads(self) -> None:
        runs = [
            dataclasses.replace(run, group=group) for run, group in ((sample_run(), "py3.11"), (good_run(), "py3.12"))
        ]
        text = PageReader(page_html(runs, 1, ["py3.10: there is no report"])).text
        self.assertRegex(
            text, re.compile("failed.*py3.10: there is no report.*Failures.*test_loaded.*py3.11", re.DOTALL)
        )
        self.assertIn("py3.12", text)

    def test_nothing_ran(self) -> None:
        page = page_html([RecordedRun(RunFacts(1e300, 0.0, 5), RunSummary())], 5)
        self.assertIn("nothing ran", PageReader(page).text)
        self.assertIn("not known", page)

    @given(st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=[]), min_size=1))
    def test_text_of_tests_is_text_and_nothing_unseen_is_in_it(self, text: str) -> None:
        page = page_html([hostile_run(text)], 1)
        page.encode("utf-8")
        self.assertEqual(plain_tags(), PageReader(page).tags)
        self.assertEqual([], re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", page))

    def test_colours_are_left_out_and_other_controls_are_shown(self) -> None:
        shown = visible("\x1b[1;31mred\x1b[0m \x07 \ud800 \x7f")
        self.assertEqual("red <U+0007> <U+D800> <U+007F>", shown)

    def test_a_megabyte_is_cut_in_the_middle(self) -> None:
        page = page_html([hostile_run("begin " + "x" * 10**6 + " end")], 1)
        self.assertLess(len(page), 20 * SHOWN_CHARACTERS)
        self.assertIn(f"... {10**6 + 10 - SHOWN_CHARACTERS} characters are left out here ...", page)

    def test_failures_beyond_some_hundreds_are_listed_without_their_reports(self) -> None:
        entry = JournalEntry("A.test", TestStatus.FAILED, 1.0, "reason", "its report")
        result = FileResult(FileEnding("test_x", 1), (entry,) * (SHOWN_REPORTS + 7))
        page = page_html([RecordedRun(RunFacts(1.0, 1.0, 1), RunSummary((result,)))], 1)
        self.assertEqual(SHOWN_REPORTS, page.count("its report"))
        self.assertIn("7 more failures, without their reports", page)


@unittest.skipIf(BROWSER is None, "needs Chromium: apt-get install chromium")
class BrowserTest(TestCase):
    """The page in a real browser."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="page-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def browse(self, page: str, *flags: str) -> subprocess.CompletedProcess[str]:
        path = self.folder / "page.html"
        path.write_text(page, encoding="utf-8")
        profile = tempfile.mkdtemp(dir=self.folder)
        offline = (
            "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
        )
        own = ["--headless", "--no-sandbox", "--disable-gpu", *offline.split(), f"--user-data-dir={profile}"]
        command = [str(BROWSER), *own, *flags, path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_TIMEOUT)

    def test_the_page_as_the_browser_has_it(self) -> None:
        result = self.browse(page_html([sample_run()], 130), "--dump-dom")
        self.assertEqual(0, result.returncode, result.stderr)
        found = PageReader(result.stdout)
        self.assertIn("rank 2 failed: AssertionError: Tensor-likes are not close!", found.text)
        self.assertEqual(4, found.tags.count("svg"))
        drawn = sum(tag == "rect" for tag in found.tags)
        self.assertEqual(4 + 5 + 2 + 4 + 4 + 2 + 1 + len(GOOD.entries), drawn)

    def test_hostile_content_changes_nothing(self) -> None:
        runs = [hostile_run(text) for text in (*HOSTILE, "x" * 10**6)]
        page = page_html(runs, 1)
        result = self.browse(page, "--dump-dom")
        self.assertEqual(0, result.returncode, result.stderr)
        title = re.search("<title>(.*?)</title>", result.stdout)
        assert title is not None
        self.assertEqual("failed: 0 passed, 10 failed, 5 skipped, 5 files not run", title[1])
        found = PageReader(result.stdout)
        self.assertEqual(set(), set(found.tags) & {"script", "img"})
        self.assertEqual([], [name for name, _ in found.attributes if name.startswith("on")])

    def test_a_screenshot_is_light_or_dark_as_the_reader_wants_it(self) -> None:
        light, dark = self.folder / "light.png", self.folder / "dark.png"
        for path, scheme in ((light, 1), (dark, 0)):
            flags = [f"--screenshot={path}", "--window-size=400,300", "--hide-scrollbars"]
            self.browse(page_html([good_run()], 0), *flags, f"--blink-settings=preferredColorScheme={scheme}")
        self.assertGreater(min(first_pixel(light)), 200)
        self.assertLess(max(first_pixel(dark)), 60)


def first_pixel(path: Path) -> tuple[int, ...]:
    """The colour of a PNG's upper left pixel; without a neighbour no filter changes it."""
    content = path.read_bytes()
    at, compressed = 8, b""
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            compressed += content[at + 8 : at + 8 + size]
        at += size + 12
    return tuple(zlib.decompress(compressed)[1:4])


if __name__ == "__main__":
    run_tests()
