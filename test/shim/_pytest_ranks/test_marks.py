"""The mark `ranks`: what it may be called with."""

from hypothesis import given, strategies as st

from torch_testing_shim._pytest_ranks.marks import MarkError, RanksMark, read_mark
from torch_testing_shim.common_utils import TestCase, run_tests


class Marks(TestCase):
    def test_what_is_taken(self):
        for arguments, options, expected in (
            ((4,), {}, RanksMark((4,))),
            ((), {"count": 4}, RanksMark((4,))),
            (([1, 2, 4],), {"backend": "gloo", "timeout": 3.5}, RanksMark((1, 2, 4), "gloo", 3.5)),
            ((range(1, 3),), {"devices": 2, "threads": True}, RanksMark((1, 2), None, None, 2, True)),
            ((2,), {"backend": None, "timeout": None, "reuse": None}, RanksMark((2,))),
            ((2,), {"reuse": False}, RanksMark((2,), reuse=False)),
        ):
            self.assertEqual(expected, read_mark(arguments, options))

    def test_what_is_not(self):
        number = "the number of ranks must be a positive int, or a list of them"
        for arguments, options, said in (
            ((0,), {}, f"ranks(0): {number}"),
            (("4",), {}, f"ranks('4'): {number}"),
            ((True,), {}, f"ranks(True): {number}"),
            (([],), {}, f"ranks([]): {number}"),
            (([1, -1],), {}, f"ranks([1, -1]): {number}"),
            (([2, 2],), {}, "ranks([2, 2]): each number of ranks must be there once"),
            ((), {}, "ranks(...) takes one number of ranks, or one list of them, not 0 arguments"),
            ((1, 2), {}, "ranks(...) takes one number of ranks, or one list of them, not 2 arguments"),
            ((1,), {"x": 1}, "ranks(...) has no option 'x'; it has backend, timeout, devices, threads and reuse"),
            ((1,), {"reuse": 1}, "ranks(..., reuse=1): reuse must be True or False"),
            (
                (1,),
                {"threads": True, "reuse": True},
                "ranks(..., threads=True, reuse=True): ranks that are threads are not reused",
            ),
            ((1,), {"timeout": 0}, "ranks(..., timeout=0): timeout must be a positive number of seconds"),
            ((1,), {"timeout": float("inf")}, "ranks(..., timeout=inf): timeout must be a positive number of seconds"),
            ((1,), {"backend": 1}, "ranks(..., backend=1): backend must be the name of a process-group backend"),
            ((1,), {"devices": -1}, "ranks(..., devices=-1): devices must be a number of accelerators"),
            ((1,), {"threads": 1}, "ranks(..., threads=1): threads must be True or False"),
        ):
            with self.assertRaises(MarkError) as raised:
                read_mark(arguments, options)
            self.assertEqual(said, str(raised.exception))

    def test_of_unittest_classes(self):
        read_mark(([2],), {}).check_for_unittest()
        for arguments, options, said in (
            (([1, 2],), {}, "ranks([1, 2]): a method of a unittest class takes one number of ranks"),
            (
                (2,),
                {"threads": True},
                "ranks(..., threads=True): a method of a unittest class takes no threads as ranks",
            ),
        ):
            with self.assertRaises(MarkError) as raised:
                read_mark(arguments, options).check_for_unittest()
            self.assertEqual(said, str(raised.exception))

    @given(st.lists(st.one_of(st.integers(), st.text(), st.none(), st.booleans(), st.lists(st.integers())), max_size=2))
    def test_it_is_read_or_refused_in_one_line(self, arguments):
        try:
            found = read_mark(arguments, {})
        except MarkError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertTrue(all(count >= 1 for count in found.counts))


if __name__ == "__main__":
    run_tests()
