"""The file of a rank's warnings: whatever is written is read, and what is torn is left out."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, strategies as st

from torch_testing_shim._engine.rank_warnings import RankWarning, read_warnings
from torch_testing_shim.common_utils import TestCase, run_tests

RECORDS = st.builds(RankWarning, st.text(), st.text(), st.text(), st.text(), st.integers())


class RankWarnings(TestCase):
    @given(st.lists(RECORDS, max_size=5), st.binary(max_size=5))
    def test_what_is_written_is_read(self, records, torn):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "warnings"
            path.write_bytes("".join(one.to_line() for one in records).encode() + torn)
            self.assertEqual(tuple(records), read_warnings(path))

    def test_other_lines_are_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "warnings"
            self.assertEqual((), read_warnings(path))
            path.write_text(json.dumps("text") + "\n" + json.dumps({"message": "too few"}) + "\n[]\n")
            self.assertEqual((), read_warnings(path))

    def test_of_a_warning(self):
        one = RankWarning.of(UserWarning("careful"), UserWarning, "a.py", 3)
        self.assertEqual(RankWarning("builtins", "UserWarning", "careful", "a.py", 3), one)
        self.assertEqual("UserWarning: careful", str(one))


if __name__ == "__main__":
    run_tests()
