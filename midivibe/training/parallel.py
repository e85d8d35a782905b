"""Data-parallel training under torchrun: one process a device, gradients added up. Alone, everything here does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
from torch import Tensor, distributed


class Workers:
    """This process among those that torchrun started: `rank` of `size`, and its device."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = "cpu"
        if torch.cuda.is_available():
            self.device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
            torch.cuda.set_device(self.device)
        if self.size > 1 and not distributed.is_initialized():
            backend = "nccl" if self.device.startswith("cuda") else "gloo"
            distributed.init_process_group(backend, timeout=timedelta(minutes=30))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum over all workers, without gradient."""
        value = value.detach().clone()
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def from_first(self, value: float) -> float:
        """The first worker's value, so that all agree on it."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over the workers, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def meet(self) -> None:
        """Wait for all."""
        if self.size > 1 and distributed.is_initialized():
            distributed.barrier()

    def stop(self) -> None:
        """Wait for all, then part: a worker whose peer is gone already may abort as it ends."""
        self.meet()
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()


__all__ = ["Workers"]
