"""The attributes of libraries, recorded when this module is imported.

A zygote imports it last, where its ranks will be reused, so that they do not copy 80,000 attributes each.
"""

from __future__ import annotations

import atexit

from torch_testing_shim._isolation.replaced_attributes import LibraryAttributes

__unittest = True  # unittest and pytest leave the frames of this module out of a report

LIBRARIES = LibraryAttributes()
LIBRARIES.record_new()
atexit.register(LIBRARIES.forget)  # nanobind (triton's, with torch 2.15) would list what the copies hold as leaked
