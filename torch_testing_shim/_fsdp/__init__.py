"""What `common_fsdp` does otherwise than torch's, so that FSDP's tests run on the CPU too.

    fsdp_device        the device that FSDP tests run on, and what FSDP has to be told of it
    compiled           a test run once as it is and once compiled

They import torch's FSDP, so nothing but that face imports them.
"""
