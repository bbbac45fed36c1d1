"""The journal: what is written is what is read, whatever happened to the writer in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._shared.journal import Journal, JournalContents, JournalEntry, RankRecord, TestStatus
from torch_testing_shim._shared.journal_reading import JournalNews, JournalReader, read_journal
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

ROOT = Path(__file__).resolve().parents[3]

#: Any text but lone surrogates, which no report can hold: reports are text that was printed.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SECONDS = st.integers(0, 10**6).map(lambda microseconds: microseconds / 10**6)
RANKS = st.builds(
    RankRecord,
    rank=st.integers(0, 1000),
    status=TEXTS,
    pid=st.integers(0, 2**22),
    started_at=SECONDS,
    seconds=SECONDS,
    exit_code=st.none() | st.integers(-64, 255),
    headline=TEXTS,
    output=TEXTS,
)
ENTRIES = st.lists(
    st.builds(
        JournalEntry,
        test=TEXTS,
        status=st.sampled_from(TestStatus),
        seconds=SECONDS,
        reason=TEXTS,
        detail=TEXTS,
        started_at=SECONDS,
        ranks=st.lists(RANKS, max_size=3).map(tuple),
        notes=st.lists(TEXTS, max_size=3).map(tuple),
    ),
    max_size=6,
    unique_by=lambda entry: entry.test,
)


class JournalTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def journal(self) -> Journal:
        """A journal at a path that has not been used; hypothesis runs many examples in one test."""
        descriptor, path = tempfile.mkstemp(dir=self.folder)
        os.close(descriptor)
        os.unlink(path)
        return Journal(path)

    def write(self, entries: list[JournalEntry]) -> Journal:
        journal = self.journal()
        journal.plan([entry.test for entry in entries])
        for entry in entries:
            journal.start(entry.test)
            journal.end(entry)
        journal.finish()
        return journal

    @given(ENTRIES)
    def test_what_is_written_is_read(self, entries: list[JournalEntry]) -> None:
        planned = tuple(entry.test for entry in entries)
        expected = JournalContents(planned, tuple(entries), unfinished=(), is_finished=True)
        self.assertEqual(expected, read_journal(self.write(entries).path))

    @given(ENTRIES, st.data())
    def test_a_torn_journal_keeps_every_whole_line(self, entries: list[JournalEntry], data: st.DataObject) -> None:
        journal = self.write(entries)
        whole = Path(journal.path).read_bytes()
        kept = whole[: data.draw(st.integers(0, len(whole)))]
        Path(journal.path).write_bytes(kept)
        contents = read_journal(journal.path)
        pairs = zip(kept.split(b"\n"), whole.split(b"\n"), strict=False)
        ends = sum(line == full and full.startswith(b'{"event": "end"') for line, full in pairs)
        self.assertEqual(tuple(entries[:ends]), contents.entries)
        self.assertLessEqual(contents.broken_lines, 1)
        self.assertEqual(contents.is_finished, kept.rstrip(b"\n") == whole.rstrip(b"\n"))

    def test_lines_that_are_no_journal_lines_are_counted_and_cost_nothing_else(self) -> None:
        journal = self.write([JournalEntry("A.test", TestStatus.PASSED, 0.5)])
        end = '{"event": "end", "test": "A.b", "status": "passed", "reason": "", "detail": "", "seconds": '
        bad = [b"\xff\xfe", b"[]", b"3", b'{"event": "pause"}', b'{"event": "end", "test": "A.b", "status": "nice"}']
        bad += [f"{end}{rest}}}".encode() for rest in ("NaN", '"1"', "1" * 400, "Infinity", '1, "started_at": "x"')]
        ranks = ("3", "[3]", "[[]]", '[{"rank": 0}]', '[{"rank": "0", "status": "x"}]', '[{"rank": 0, "status": 1}]')
        bad += [f'{end}1, "ranks": {value}}}'.encode() for value in ranks]
        bad += [f'{end}1, "ranks": [{{"rank": 0, "status": "x", "pid": true}}]}}'.encode(), b"[" * 10**5]
        with open(journal.path, "ab") as stream:
            stream.write(b"\n".join(bad) + b"\n")
        contents = read_journal(journal.path)
        self.assertEqual(len(bad), contents.broken_lines)
        self.assertEqual(("A.test",), tuple(entry.test for entry in contents.entries))

    def test_an_end_without_times_and_ranks_is_one(self) -> None:
        line = '{"event": "end", "test": "A.b", "status": "passed", "seconds": 1, "reason": "", "detail": ""}\n'
        (self.folder / "short").write_text(line)
        expected = JournalContents(entries=(JournalEntry("A.b", TestStatus.PASSED, 1.0),))
        self.assertEqual(expected, read_journal(self.folder / "short"))

    @given(ENTRIES, st.data())
    def test_a_journal_is_read_alike_at_once_and_while_it_grows(
        self, entries: list[JournalEntry], data: st.DataObject
    ) -> None:
        whole = Path(self.write(entries).path).read_bytes()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        growing = self.journal()
        told = []
        with closing(JournalReader(growing.path)) as reader:
            self.assertIsNone(reader.read_new())
            for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                with open(growing.path, "ab") as stream:
                    stream.write(whole[start:end])
                news = reader.read_new()
                self.assertEqual(start == end, news is None)
                told += news.entries if news else ()
                self.assertEqual(0, reader.contents().broken_lines)  # what is not whole yet is not torn either
            self.assertIsNone(reader.read_to_end())
            self.assertEqual(read_journal(growing.path), reader.contents())
        self.assertEqual(entries, told)

    def test_news_say_how_far_the_file_is(self) -> None:
        journal = self.journal()
        journal.plan(["A.one", "A.two"], "npu")
        journal.start("A.one")
        with closing(JournalReader(journal.path)) as reader:
            self.assertEqual(JournalNews(planned=2, now="A.one", device="npu"), reader.read_new())
            entry = JournalEntry("A.one", TestStatus.PASSED, 0.5)
            journal.end(entry)
            self.assertEqual(JournalNews((entry,), 1, 2, "", "npu"), reader.read_new())
            with open(journal.path, "ab") as stream:
                stream.write(b'{"event": "start", "te')
            self.assertEqual(JournalNews((), 1, 2, "", "npu"), reader.read_to_end())
            self.assertEqual(1, reader.contents().broken_lines)

    def test_a_journal_that_is_replaced_is_read_anew_and_one_that_is_lost_is_broken(self) -> None:
        """The new one is longer than the old one was, and would get its inode number if nobody had it open."""
        journal = self.journal()
        with closing(JournalReader(journal.path)) as reader:
            for test in ("A.one", "A.with_a_longer_name"):
                journal.start(test)
                reader.read_new()
                self.assertEqual(JournalContents(unfinished=(test,)), reader.contents())
                os.unlink(journal.path)
            for lose in (lambda: None, lambda: os.mkdir(journal.path)):
                lose()
                self.assertIsNotNone(reader.read_new())
                self.assertEqual(JournalContents(broken_lines=1), reader.contents())
            os.rmdir(journal.path)
            Path(journal.path).write_bytes(b"")
            reader.read_new()
            self.assertEqual(JournalContents(), reader.contents())

    def test_a_journal_that_is_not_there_is_empty(self) -> None:
        self.assertEqual(JournalContents(), read_journal(self.folder / "none"))

    def test_a_killed_writer_leaves_the_test_that_ran_as_unfinished(self) -> None:
        journal = self.journal()
        script = f"""
import os, signal
from torch_testing_shim._shared.journal import Journal
journal = Journal({str(journal.path)!r})
journal.plan(["A.one", "A.two"])
journal.start("A.one")
os.kill(os.getpid(), signal.SIGKILL)
"""
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.run([sys.executable, "-c", script], env=env, timeout=60)
        self.assertEqual(-signal.SIGKILL, process.returncode)
        self.assertEqual(JournalContents(("A.one", "A.two"), (), ("A.one",)), read_journal(journal.path))

    def test_several_writers_do_not_tear_each_others_lines(self) -> None:
        journal = self.journal()
        script = f"""
import sys
from torch_testing_shim._shared.journal import Journal
for number in range(200):
    Journal({str(journal.path)!r}).start(sys.argv[1] * 500 + str(number))
"""
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        writers = [subprocess.Popen([sys.executable, "-c", script, letter], env=env) for letter in "abc"]
        self.assertEqual([0, 0, 0], [writer.wait(60) for writer in writers])
        contents = read_journal(journal.path)
        self.assertEqual(0, contents.broken_lines)
        self.assertEqual({f"{letter * 500}{n}" for letter in "abc" for n in range(200)}, set(contents.unfinished))

    def test_the_file_is_its_owners_alone(self) -> None:
        journal = self.journal()
        journal.finish()
        self.assertEqual(0o600, os.stat(journal.path).st_mode & 0o777)


class TestStatusTest(TestCase):
    def test_every_status_is_exactly_one_of_pass_failure_and_skip(self) -> None:
        for status in TestStatus:
            self.assertEqual(1, status.is_pass + status.is_failure + status.is_skip, status)

    def test_an_expected_failure_passes_and_an_unexpected_success_fails(self) -> None:
        self.assertTrue(TestStatus.EXPECTED_FAILURE.is_pass)
        self.assertTrue(TestStatus.UNEXPECTED_SUCCESS.is_failure)


if __name__ == "__main__":
    run_tests()
