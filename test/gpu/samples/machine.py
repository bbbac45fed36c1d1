"""Prints what torch says of the accelerator, as JSON."""

import json

import torch

count = torch.accelerator.device_count()
accelerator = torch.accelerator.current_accelerator() if count else None
told = {"device": accelerator.type if count else "", "count": count, "name": "", "torch": torch.__version__}
if count:
    name = getattr(torch.get_device_module(accelerator), "get_device_name", lambda index: accelerator.type)
    told["name"] = name(0)
print(json.dumps(told))
