"""What FSDP's test cases have in common, by upstream's names."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch.distributed.fsdp import BackwardPrefetch, CPUOffload, MixedPrecision, ShardingStrategy

from torch_testing_shim._fsdp.init_modes import DEVICEInitMode, FSDPInitMode, takes_cuda_init_mode
from torch_testing_shim._fsdp.parity import Parity, check_parity
from torch_testing_shim._fsdp.training import Training, train
from torch_testing_shim._fsdp.transformer_model import FSDPTestModel
from torch_testing_shim._subtests import run_subtests

__all__ = ["FSDPTestMixin"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: What FSDP does by itself, spelled out as upstream's signature has it.
NO_OFFLOAD = CPUOffload()

Arguments = dict[str, Any] | None
Offload = CPUOffload | None
Prefetch = BackwardPrefetch | None
Strategy = ShardingStrategy | None
Model = type[FSDPTestModel]
Precision = MixedPrecision | None
Reference = Callable[[nn.Module], nn.Module] | None


class FSDPTestMixin:
    """What FSDP's tests have in common, however their ranks are started (upstream's `FSDPTestMixin`, torch 2.13)."""

    def run_subtests(self, *args: Any, **kwargs: Any) -> None:
        """`run_subtests` of `common_distributed`, for this test case."""
        run_subtests(self._case(), *args, **kwargs)

    def _case(self) -> unittest.TestCase:
        assert isinstance(self, unittest.TestCase)
        return self

    def _check_cpu_offload(self, fsdp_model: Any, cpu_offload: object) -> None:
        self._case().assertEqual(fsdp_model.cpu_offload, cpu_offload)

    def _check_backward_prefetch(self, fsdp_model: Any, backward_prefetch: object) -> None:
        self._case().assertEqual(fsdp_model.backward_prefetch, backward_prefetch)

    def _check_forward_prefetch(self, fsdp_model: Any, forward_prefetch: object) -> None:
        self._case().assertEqual(fsdp_model.forward_prefetch, forward_prefetch)

    def _train_for_several_steps(
        self,
        model: Any,
        num_steps: int,
        autocast: bool,
        lr: float = 1e-2,
        fsdp_cpu_offload: Offload = None,
        save_model: bool = False,
        mixed_precision: Precision = None,
        enable_sharded_grad_scaler: bool = False,
        use_pure_fp16: bool = False,
        sharded_grad_scaler_kwargs: Arguments = None,
    ) -> torch.Tensor:
        """Trains a model whose `module` is an `FSDPTestModel` by SGD, checks types and places on the way, and returns
        the last loss. The arguments are those of `Training`, by upstream's names.

        Raises:
            AssertionError: parameters or the loss are not where, or of what type, they have to be.
        """
        plan = Training(
            steps=num_steps,
            learning_rate=lr,
            autocast=autocast,
            offloads_params=fsdp_cpu_offload is not None and fsdp_cpu_offload.offload_params,
            reloads=save_model,
            mixed_precision=mixed_precision,
            pure_fp16=use_pure_fp16,
            scales_gradients=enable_sharded_grad_scaler,
            scaler_arguments=sharded_grad_scaler_kwargs or {},
        )
        return train(self._case(), model, plan)

    @takes_cuda_init_mode
    def _test_fsdp_parity(
        self,
        model_class: Model,
        fsdp_init_mode: FSDPInitMode,
        device_init_mode: DEVICEInitMode,
        ref_init_fn: Reference = None,
        num_iters: int = 2,
        save_model: bool = True,
        cpu_offload: Offload = NO_OFFLOAD,
        backward_prefetch: Prefetch = None,
        sharding_strategy: Strategy = None,
        mixed_precision: Precision = None,
        forward_prefetch: bool = False,
        use_orig_params: bool = False,
        enable_sharded_grad_scaler: bool = False,
        use_pure_fp16: bool = False,
        init_kwargs: Arguments = None,
        sharded_grad_scaler_kwargs: Arguments = None,
        **fsdp_kwargs: Any,
    ) -> None:
        """Trains a model with FSDP and a reference, by default with DDP, and compares losses and parameters. The
        arguments are those of `Parity` and of FSDP, by upstream's names.

        Raises:
            AssertionError: they differ, or the FSDP mode is one without FSDP.
            ValueError: FSDP's model cannot be made.
        """
        for_fsdp = {
            "backward_prefetch": backward_prefetch,
            "cpu_offload": cpu_offload,
            "forward_prefetch": forward_prefetch,
            "mixed_precision": mixed_precision,
            "sharding_strategy": sharding_strategy,
            "use_orig_params": use_orig_params,
        }
        scaling = {
            "enable_sharded_grad_scaler": enable_sharded_grad_scaler,
            "sharded_grad_scaler_kwargs": sharded_grad_scaler_kwargs,
        }
        parity = Parity(
            model_class,
            fsdp_init_mode,
            device_init_mode,
            reference=ref_init_fn,
            init_arguments=init_kwargs or {},
            fsdp_arguments={**fsdp_kwargs, **for_fsdp},
            steps=num_iters,
            reloads=save_model,
            cpu_offload=cpu_offload,
            mixed_precision=mixed_precision,
            pure_fp16=use_pure_fp16,
            scaling=scaling,
        )
        check_parity(self, parity)
