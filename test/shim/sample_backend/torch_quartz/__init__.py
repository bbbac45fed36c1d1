"""A device for torch, "quartz", and process groups on it, "quartzlink": a package as its author would write it.

It is pure Python, as far as torch 2.13 allows. Torch has hooks for a device written in Python, which it calls
experimental: `torch._C._acc.PrivateUse1Hooks` and `DeviceGuard`. With them, and with what is public, this package has

* the name, by `torch.utils.rename_privateuse1_backend`, and `torch.quartz` with four devices (`device`);
* tensors, strided, of every dtype that DLPack has: their memory is the host's (`tensors`);
* every operator that the CPU has, with autograd, by one fallback kernel (`tensors`);
* process groups, by `torch.distributed.Backend.register_backend`, on gloo (`process_group`).

What pure Python cannot have, with torch 2.13: a memory of its own, since an allocator has to be written in C++, and
with it storages that grow (FSDP1 makes them) or that are saved (`torch.save`); streams, events and generators of its
own (they are the CPU's). Its device guard is asked for its type alone: the current device is
always the first one, and autograd knows no other, so that `backward` on quartz:1 is an internal error of torch's.
"""

from __future__ import annotations


def register() -> None:
    """Make the device known to torch, which calls this when it is imported (entry point group "torch.backends")."""
    from torch_quartz import device, process_group, tensors

    device.register()
    tensors.register()
    process_group.register()
