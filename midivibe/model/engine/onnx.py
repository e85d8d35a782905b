"""The engine on ONNX Runtime: `TorchEngine`'s interface without torch, several times as fast on a CPU.

The cache is one array a layer; the graph reads and writes it where it lies, so a token costs no copy of it.
B rows (pieces written side by side), S cache size, V vocabulary, Z latent, M vibe inputs.
"""

from __future__ import annotations

import json
import os
from copy import copy as duplicate
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from midivibe.config import ModelConfig
from midivibe.errors import CheckpointError, MidivibeError
from midivibe.model.folder import weights_digest

OLDEST = (1, 27)
"""ONNX Runtime from which 8-bit matrices and caches run on CPUs."""
DECODERS = {8: "decoder.int8.onnx", 32: "decoder.onnx"}
SMALL = 16 << 20
"""Bytes of an 8-bit decoder up to which one step gains nothing from a second thread; the rows of a batch do."""


def runtime() -> ModuleType | None:
    """The onnxruntime module where it is installed and new enough, else None."""
    try:
        import onnxruntime
    except ImportError:
        return None
    version = tuple(int(n) for n in onnxruntime.__version__.split(".")[:2])
    return onnxruntime if version >= OLDEST else None


def has_graphs(folder: Path, bits: int = 8) -> bool:
    """Whether a checkpoint folder holds the graphs that this engine runs."""
    return all((folder / name).is_file() for name in (DECODERS[bits], "start.onnx", "guide.onnx"))


def why_not(folder: Path, bits: int = 8) -> str:
    """What stands against this engine for a checkpoint folder, and what to do; empty where nothing does."""
    if runtime() is None:
        oldest = ".".join(map(str, OLDEST))
        return f"ONNX Runtime is missing or older than {oldest}: pip install 'onnxruntime>={oldest}'"
    if not has_graphs(folder, bits):
        return f"{folder} has no graphs for ONNX Runtime; make them with midivibe export-onnx {folder}"
    return ""


class OnnxEngine:
    """Decodes with ONNX Runtime. `begin` fixes z and vibe; `prefill` sets a row's past; `step` adds a token a row.

    With guidance g other than 1, every row is computed twice, once without vibe, and logits are n + g · (c − n).

    Raises:
        CheckpointError: no ONNX Runtime, missing or damaged graphs, or graphs of other weights.
    """

    def __init__(self, folder: str | Path, bits: int = 8, threads: int | None = None) -> None:
        folder = Path(folder)
        if reason := why_not(folder, bits):
            raise CheckpointError(reason)
        ort = runtime()
        assert ort is not None  # else `why_not` had said so
        options = ort.SessionOptions()
        cores = min(os.cpu_count() or 1, 4)
        small = bits == 8 and (folder / DECODERS[bits]).stat().st_size <= SMALL
        options.intra_op_num_threads = threads or (1 if small else cores)
        self._lanes = cores if options.intra_op_num_threads == 1 else 1
        options.log_severity_level = 3
        digest = weights_digest(folder)

        def load(name: str) -> Any:
            try:
                session = ort.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises its own kinds, all meaning that the file is damaged
                raise CheckpointError(f"damaged graph {folder / name}: {str(error).splitlines()[0][:160]}") from error
            if session.get_modelmeta().custom_metadata_map.get("weights") != digest:
                raise CheckpointError(f"{folder / name} was made of other weights; run midivibe export-onnx {folder}")
            return session

        self._decoder, self._start, self._guide = load(DECODERS[bits]), load("start.onnx"), load("guide.onnx")
        try:
            config = ModelConfig.stored(json.loads((folder / "config.json").read_text())["model"])
            self._cache_shape = (config.kv_heads, config.block_size, config.n_embd // config.n_head)
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError, MidivibeError) as error:
            raise CheckpointError(f"damaged checkpoint {folder}: config.json: {error}") from error
        self.block_size, self.latents, self._layers = config.block_size, config.n_latent, config.n_layer
        self.tokens, self.coordinates = config.vocab_size, config.n_coordinates
        self._cache_type = np.int8 if bits == 8 else np.float32
        sessions = (self._decoder, self._start)
        shapes = {i.name: i.shape for session in sessions for i in (*session.get_inputs(), *session.get_outputs())}
        heads, _, width = self._cache_shape
        caches = sum(name.startswith("k") for name in shapes)
        fits = (caches, shapes["k0"][1], shapes["k0"][3]) == (self._layers, heads, width)
        if not fits or shapes["z"][-1] != self.latents or shapes["logits"][-1] != self.tokens:
            raise CheckpointError(f"damaged checkpoint {folder}: config.json is of another shape than the graphs")

    def lanes(self, rows: int) -> list[OnnxEngine]:
        """Engines that share the graphs, for parts of a batch that run in threads of their own."""
        return [self] + [self.another() for _ in range(min(self._lanes, rows) - 1)]

    def another(self) -> OnnxEngine:
        """An engine with the same graphs and a state of its own, after its `begin`."""
        return duplicate(self)

    def prior(self, vibe: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Draw z ~ p(z | vibe): vibe (B, M), standard normal noise (B, Z) -> (B, Z)."""
        mean, sd = self._start.run(["prior_mean", "prior_sd"], {"vibe": vibe, "z": np.zeros_like(noise)})
        z: np.ndarray = mean + np.float32(scale) * sd * noise
        return z

    def posterior(self, ids: list[int], coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """q(z | ids): ids (T,) with coordinates (T, K) -> mean and sd, each (Z,). What lies beyond the block is not read."""
        inputs = {
            "ids": np.array([ids[: self.block_size]]),
            "coordinates": coordinates[None, : self.block_size, : self.coordinates],
        }
        mean, sd = self._guide.run(["mean", "sd"], inputs)
        return mean[0], sd[0]

    def begin(self, z: np.ndarray, vibe: np.ndarray, guidance: float = 1.0) -> None:
        """Start B rows: z (B, Z) and vibe (B, M), both float32."""
        self.guidance, self.rows = guidance, len(z)
        copies = 1 if guidance == 1.0 else 2
        every = np.concatenate([vibe] + [np.zeros_like(vibe)] * (copies - 1))
        self._condition = self._conditioned(np.concatenate([z] * copies), every)
        shape = (len(every), *self._cache_shape)
        self._caches = [np.zeros(shape, dtype=self._cache_type) for _ in range(2 * self._layers)]
        self._lengths = np.zeros(len(every), dtype=np.int32)
        self._one = _Call(self, slice(0, len(every)), 1)  # a token a row: bound once, its inputs changed in place

    def _conditioned(self, z: np.ndarray, vibe: np.ndarray) -> np.ndarray:  # (B, Z), (B, M) -> (L, B, 1, C)
        condition: np.ndarray = self._start.run(["condition"], {"vibe": vibe, "z": z})[0]
        return condition

    def steer(self, row: int, z: np.ndarray, vibe: np.ndarray) -> None:
        """Change z (1, Z) and vibe (1, M) of a row from the next token on; its past stays as it was heard."""
        for copy in range(row, len(self._lengths), self.rows):
            heard = vibe if copy < self.rows else np.zeros_like(vibe)
            self._condition[:, copy] = self._conditioned(z, heard)[:, 0]

    def prefill(self, row: int, ids: list[int], coordinates: np.ndarray) -> np.ndarray:
        """Replace a row's past by ids (T,) with coordinates (T, K) in one pass; returns the next logits (V,)."""
        logits = []
        for copy in range(row, len(self._lengths), self.rows):
            self._lengths[copy] = len(ids)
            call = _Call(self, slice(copy, copy + 1), len(ids))
            logits.append(call(np.array([ids]), coordinates[None], self._lengths[copy : copy + 1]))
        following: np.ndarray = self._guided(np.stack(logits))[0]
        return following

    def step(self, ids: list[int], coordinates: np.ndarray, running: list[bool] | None = None) -> np.ndarray:
        """Add one id a row: ids (B,), coordinates (B, K) -> logits (B, V).

        A row that does not run costs little, and forgets its past: it runs again after a prefill.
        """
        copies = len(self._lengths) // self.rows
        tokens, places = np.array(ids * copies)[:, None], np.concatenate([coordinates] * copies)[:, None]
        moving = np.array((running or [True] * self.rows) * copies)
        self._lengths = np.where(moving, self._lengths + 1, 1).astype(np.int32)
        out = self._one(tokens, places, self._lengths)
        return self._guided(out.reshape(copies, self.rows, -1))

    def _guided(self, logits: np.ndarray) -> np.ndarray:  # (copies, B, V) -> (B, V)
        told: np.ndarray = logits[0]
        if len(logits) > 1:
            told = logits[1] + np.float32(self.guidance) * (told - logits[1])
        return told


class _Call:
    """The decoder bound to some rows of the caches and to buffers for `width` tokens a row; called, it fills and runs."""

    def __init__(self, engine: OnnxEngine, rows: slice, width: int) -> None:
        count = rows.stop - rows.start
        self._run = engine._decoder.run_with_iobinding
        self.binding = engine._decoder.io_binding()
        self.ids = np.zeros((count, width), dtype=np.int64)
        self.places = np.zeros((count, width, engine.coordinates), dtype=np.int64)
        self.last, self.total = np.zeros(count, dtype=np.int32), np.zeros((), dtype=np.int32)
        self.logits = np.zeros((count, 1, engine.tokens), dtype=np.float32)
        whole = count == engine._condition.shape[1]
        # the whole condition is bound as it is, so that steering it is heard
        self.condition = engine._condition if whole else np.ascontiguousarray(engine._condition[:, rows])
        buffers = {
            "ids": self.ids, "coordinates": self.places, "condition": self.condition, "last": self.last, "total": self.total,
        }  # fmt: skip
        for name, value in buffers.items():
            self.binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        for i, cache in enumerate(engine._caches):
            name, part = f"{'kv'[i % 2]}{i // 2}", cache[rows]
            self.binding.bind_input(name, "cpu", 0, cache.dtype.type, part.shape, part.ctypes.data)
            self.binding.bind_output(f"new_{name}", "cpu", 0, cache.dtype.type, part.shape, part.ctypes.data)
        self.binding.bind_output("logits", "cpu", 0, np.float32, self.logits.shape, self.logits.ctypes.data)

    def __call__(self, ids: np.ndarray, coordinates: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """ids (B, T), coordinates (B, T, K), lengths (B,) with the new tokens -> logits (B, V) after the last."""
        self.ids[:], self.places[:], self.last[:] = ids, coordinates[..., : self.places.shape[-1]], lengths - 1
        self.total[...] = lengths.max()
        self._run(self.binding)
        return self.logits[:, 0].copy()


__all__ = ["OnnxEngine", "has_graphs", "runtime", "why_not"]
