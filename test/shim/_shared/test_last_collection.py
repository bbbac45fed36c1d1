"""The last collection of a process."""

import gc
from unittest import mock

from torch_testing_shim._shared import last_collection
from torch_testing_shim.common_utils import TestCase, run_tests


class LastCollectionTest(TestCase):
    def test_it_is_left_out_unless_nanobind_would_list_what_it_leaves(self) -> None:
        def calls() -> list[str]:
            with mock.patch.object(last_collection, "gc") as collector:
                last_collection.settle_last_collection()
            return [call[0] for call in collector.method_calls]

        kinds = {kind.__name__ for kind in type.__subclasses__(type)}
        if not any(name.startswith("nb_type") for name in kinds):
            self.assertEqual(["freeze"], calls())
        kind = type("nb_type_0", (type,), {})
        self.assertEqual(["unfreeze"], calls())
        del kind
        gc.collect()


if __name__ == "__main__":
    run_tests()
