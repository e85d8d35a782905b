"""A model → ONNX graphs for ONNX Runtime on a CPU, built node by node from the weights.

    decoder.onnx       ids, coordinates, condition, cache → next logits; the cache grows in place
    start.onnx         vibe → the prior's mean and sd; z, vibe → what each layer adds (the condition)
    guide.onnx         ids, coordinates → the posterior's mean and sd

Every graph carries the digest of the weights it was made of. `decoder.int8.onnx` stores its matrices as 8-bit blocks and
its cache as 8-bit numbers: a long past is then read four times as fast.
B batch, T new tokens, K coordinates, S cache size, C channels, H heads, D channels a head, L layers, V vocabulary,
Z latent, M vibe inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from midivibe.files import replacing
from midivibe.model.latent import UNIT_SD, VibeModel
from midivibe.model.transformer import MEAN_SPREAD, SD_FLOOR, SD_OFFSET, SD_SLOPE, Block, Embedding, rotary

OPSET = 21
CONTRIB = "com.microsoft"
BLOCK = 32
"""Weights that share one scale in an 8-bit matrix."""
CACHE_REACH = 8.0
"""Largest key or value that an 8-bit cache holds, in norms of the weights that make it; beyond it is cut. Inputs are
normalised, so a norm is about one standard deviation. On held-out windows the largest of a channel is 5 (median) to 9."""

FLOAT, INT64, INT32, INT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.INT8
Port = tuple[str, int, Sequence[int | str]]
"""An input or output of a graph: its name, type and shape."""


class Graph:
    """ONNX nodes in the order in which they run; each method adds some and returns the name of what they make."""

    def __init__(self, bits: int = 32) -> None:
        self.bits = bits
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def constant(self, value: torch.Tensor | npt.ArrayLike, name: str = "") -> str:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        name = name or f"c{len(self.weights)}"
        half = array.astype(np.float16) if array.dtype == np.float32 and array.size >= 1024 else array
        # weights that ship have 16 bits: stored so, the file is half the size; the runtime widens them once, as it loads
        exact = half.dtype == np.float16 and bool((half.astype(np.float32) == array).all())
        self.weights.append(numpy_helper.from_array(np.asarray(half if exact else array, order="C"), name))
        return self.op("Cast", name, to=FLOAT) if exact else name

    def op(self, kind: str, *inputs: str, outputs: list[str] | None = None, domain: str = "", **attributes: Any) -> str:
        outputs = outputs or [f"t{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, domain=domain, **attributes))
        return outputs[0]

    def linear(self, x: str, layer: nn.Linear | torch.Tensor) -> str:
        """x W^T (+ b); in 8 bits where the graph is of 8 bits."""
        weight = layer.weight if isinstance(layer, nn.Linear) else layer
        width_out, width_in = weight.shape
        if self.bits == 8 and width_in % BLOCK == 0:
            packed, scales = quantize_rows(weight.detach().cpu().numpy())
            y = self.op(
                "MatMulNBits", x, self.constant(packed), self.constant(scales), domain=CONTRIB,
                K=width_in, N=width_out, bits=8, block_size=BLOCK, accuracy_level=4,
            )  # fmt: skip
        else:
            y = self.op("MatMul", x, self.constant(weight.T))
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            y = self.op("Add", y, self.constant(layer.bias))
        return y

    def norm(self, x: str, layer: nn.RMSNorm) -> str:
        epsilon = layer.eps if layer.eps is not None else torch.finfo(torch.float32).eps
        return self.op("SimplifiedLayerNormalization", x, self.constant(layer.weight), axis=-1, epsilon=float(epsilon))

    def silu(self, x: str) -> str:
        return self.op("QuickGelu", x, domain=CONTRIB, alpha=1.0)

    def embed(self, ids: str, coordinates: str, layer: Embedding) -> str:
        """Token and coordinate embeddings added up: (B, T), (B, T, K) -> (B, T, C)."""
        h = self.op("Gather", self.constant(layer.token.weight), ids)
        sizes = np.array([table.num_embeddings for table in layer.tables], dtype=np.int64)
        inside = self.op("Min", self.op("Max", coordinates, self.constant(np.int64(0))), self.constant(sizes - 1))
        rows = self.op("Add", inside, self.constant(np.cumsum(sizes) - sizes))  # of all tables, one above another
        every = self.op("Gather", self.constant(torch.cat([table.weight for table in layer.tables])), rows)
        return self.op("Add", h, self.op("ReduceSum", every, self.constant(np.array([2])), keepdims=0))

    def feed_forward(self, h: str, block: Block) -> str:
        hidden = block.down.in_features
        both = self.linear(self.norm(h, block.norm2), block.up)
        gate, value = f"{both}_gate", f"{both}_value"
        self.op("Split", both, self.constant(np.array([hidden, hidden])), outputs=[gate, value], axis=-1)
        return self.op("Add", h, self.linear(self.op("Mul", self.silu(gate), value), block.down))

    def model(self, inputs: Sequence[Port], outputs: Sequence[Port], digest: str) -> ModelProto:
        taken, made = ([helper.make_tensor_value_info(*port) for port in ports] for ports in (inputs, outputs))
        graph = helper.make_graph(self.nodes, "midivibe", taken, made, self.weights)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        helper.set_model_props(model, {"weights": digest})
        return model


def quantize_rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) float -> (N, K / 32, 32) uint8 around 128, and a scale a block, (N · K / 32,): symmetric, largest value 127."""
    n, k = weight.shape
    blocks = weight.reshape(n, k // BLOCK, BLOCK).astype(np.float32)
    scales = np.abs(blocks).max(-1) / 127
    steps = np.round(blocks / np.maximum(scales, 1e-12)[..., None]).clip(-127, 127)
    return (steps + 128).astype(np.uint8), scales.reshape(-1).astype(np.float32)


def cache_scales(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """The step of each channel of an 8-bit cache: keys and values, each (1, K, 1, D) of K heads. It needs no data."""
    attention = block.attention
    rows = (attention.qkv.weight * block.norm1.weight).detach().norm(dim=1)
    _, k, v = (part.view(1, -1, 1, attention.size) for part in rows.split(attention.parts))
    a, b = k.chunk(2, dim=-1)
    turned = torch.cat([a.hypot(b)] * 2, dim=-1)  # rotation moves what one channel of a pair holds into the other
    keys, values = (CACHE_REACH / 127 * n.clamp(min=1e-6).cpu().numpy() for n in (turned, v))
    return keys, values


def decoder(model: VibeModel, digest: str, bits: int = 32) -> ModelProto:
    """The graph of T more tokens for B rows. `last` is the place of each row's last new token, `total` the longest row."""
    config, t = model.config, model.transformer
    width = config.n_embd // config.n_head
    g = Graph(bits)
    cos, sin = (g.constant(table) for table in rotary(config.block_size, width))
    h = g.embed("ids", "coordinates", t.embedding)
    inputs: list[Port] = [
        ("ids", INT64, ["B", "T"]), ("coordinates", INT64, ["B", "T", config.n_coordinates]),
        ("condition", FLOAT, [config.n_layer, "B", 1, config.n_embd]), ("last", INT32, ["B"]), ("total", INT32, []),
    ]  # fmt: skip
    outputs: list[Port] = [("logits", FLOAT, ["B", 1, config.vocab_size])]
    shape: list[int | str] = ["B", config.kv_heads, "S", width]
    stored = INT8 if bits == 8 else FLOAT
    for i, block in enumerate(t.blocks):
        assert isinstance(block, Block)
        h = g.op("Add", h, g.op("Gather", "condition", g.constant(np.int64(i)), axis=0))
        qkv = g.linear(g.norm(h, block.norm1), block.attention.qkv)
        inner = [qkv, "", "", f"k{i}", f"v{i}", "last", "total", cos, sin]
        small: dict[str, str | int] = {}
        if bits == 8:
            inner += ["", "", "", *(g.constant(scale) for scale in cache_scales(block))]
            small = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}
        y = g.op(
            "GroupQueryAttention", *inner, domain=CONTRIB, outputs=[f"y{i}", f"new_k{i}", f"new_v{i}"],
            num_heads=config.n_head, kv_num_heads=config.kv_heads, do_rotary=1, **small,
        )  # fmt: skip
        h = g.feed_forward(g.op("Add", h, g.linear(y, block.attention.out)), block)
        inputs += [(f"k{i}", stored, shape), (f"v{i}", stored, shape)]
        outputs += [(f"new_k{i}", stored, shape), (f"new_v{i}", stored, shape)]
    last = g.op("Gather", h, g.constant(np.array([-1])), axis=1)
    logits = g.linear(g.norm(last, t.norm), t.embedding.token.weight)
    g.op("Add", logits, g.constant(t.bias), outputs=["logits"])
    return g.model(inputs, outputs, digest)


def start(model: VibeModel, digest: str) -> ModelProto:
    """vibe (B, M) -> prior mean and sd (B, Z); z (B, Z), vibe -> condition (L, B, 1, C)."""
    config, t = model.config, model.transformer
    g = Graph()
    first, last = (layer for layer in model.prior.net if isinstance(layer, nn.Linear))
    raw = g.linear(g.silu(g.linear("vibe", first)), last)
    z_size = config.n_latent
    g.op("Split", raw, g.constant(np.array([z_size, z_size])), outputs=["prior_mean", "prior_raw"], axis=-1)
    sd = g.op("Softplus", g.op("Add", "prior_raw", g.constant(np.float32(UNIT_SD))))
    g.op("Add", sd, g.constant(np.float32(SD_FLOOR)), outputs=["prior_sd"])
    share = t.alpha.sigmoid()
    rows = []
    for i in range(config.n_layer):
        from_z, from_vibe = t.from_z[i], t.from_vibe[i]
        assert isinstance(from_z, nn.Linear) and isinstance(from_vibe, nn.Linear)
        a = g.op("MatMul", "z", g.constant(share[i] * from_z.weight.T))
        b = g.op("MatMul", "vibe", g.constant((1 - share[i]) * from_vibe.weight.T))
        rows.append(g.op("Unsqueeze", g.op("Add", a, b), g.constant(np.array([0, 2]))))
    g.op("Concat", *rows, outputs=["condition"], axis=0)
    inputs: list[Port] = [("vibe", FLOAT, ["B", config.vibe_inputs]), ("z", FLOAT, ["B", z_size])]
    outputs: list[Port] = [("prior_mean", FLOAT, ["B", z_size]), ("prior_sd", FLOAT, ["B", z_size]),
                           ("condition", FLOAT, [config.n_layer, "B", 1, config.n_embd])]  # fmt: skip
    return g.model(inputs, outputs, digest)


def guide(model: VibeModel, digest: str) -> ModelProto:
    """ids (1, T), coordinates (1, T, K) -> mean and sd of q(z | ids), each (1, Z); all of the ids are read."""
    config, e = model.config, model.encoder
    width = config.encoder_embd
    first = e.blocks[0]
    assert isinstance(first, Block)
    heads = first.attention.heads
    size = width // heads
    g = Graph()
    h = g.embed("ids", "coordinates", e.embedding)
    length = g.op("Gather", g.op("Shape", "ids"), g.constant(np.array([1])))
    turn = rotary(config.block_size, size)
    cos, sin = (
        g.op("Slice", g.constant(table), g.constant(np.array([0])), length, g.constant(np.array([0]))) for table in turn
    )

    def rotate(x: str) -> str:
        a, b = f"{x}_a", f"{x}_b"
        g.op("Split", x, g.constant(np.array([size // 2, size // 2])), outputs=[a, b], axis=-1)
        left = g.op("Sub", g.op("Mul", a, cos), g.op("Mul", b, sin))
        right = g.op("Add", g.op("Mul", a, sin), g.op("Mul", b, cos))
        return g.op("Concat", left, right, axis=-1)

    for block in e.blocks:
        assert isinstance(block, Block)
        qkv = g.linear(g.norm(h, block.norm1), block.attention.qkv)
        parts = [f"{qkv}_{n}" for n in "qkv"]
        g.op("Split", qkv, g.constant(np.array([width] * 3)), outputs=parts, axis=-1)
        q, k, v = (
            g.op("Transpose", g.op("Reshape", p, g.constant(np.array([0, 0, heads, size]))), perm=[0, 2, 1, 3]) for p in parts
        )
        scores = g.op("MatMul", rotate(q), g.op("Transpose", rotate(k), perm=[0, 1, 3, 2]))
        scores = g.op("Softmax", g.op("Mul", scores, g.constant(np.float32(size**-0.5))), axis=-1)
        y = g.op("Transpose", g.op("MatMul", scores, v), perm=[0, 2, 1, 3])
        y = g.op("Reshape", y, g.constant(np.array([0, 0, width])))
        h = g.feed_forward(g.op("Add", h, g.linear(y, block.attention.out)), block)
    pooled = g.op("ReduceMean", g.norm(h, e.norm), g.constant(np.array([1])), keepdims=0)
    raw = g.linear(_standardised(g, pooled, e.pooled), e.out)
    g.op("Split", raw, g.constant(np.array([config.n_latent] * 2)), outputs=["raw_mean", "raw_sd"], axis=-1)
    g.op("Mul", _standardised(g, "raw_mean", e.spread), g.constant(np.float32(MEAN_SPREAD)), outputs=["mean"])
    spread = g.op("Add", g.op("Mul", "raw_sd", g.constant(np.float32(SD_SLOPE))), g.constant(np.float32(SD_OFFSET)))
    g.op("Add", g.op("Softplus", spread), g.constant(np.float32(SD_FLOOR)), outputs=["sd"])
    inputs: list[Port] = [("ids", INT64, [1, "T"]), ("coordinates", INT64, [1, "T", config.n_coordinates])]
    outputs: list[Port] = [("mean", FLOAT, [1, config.n_latent]), ("sd", FLOAT, [1, config.n_latent])]
    return g.model(inputs, outputs, digest)


def _standardised(g: Graph, x: str, layer: nn.BatchNorm1d) -> str:
    """Batch normalisation with the running statistics."""
    assert layer.running_mean is not None and layer.running_var is not None
    scale = (layer.running_var + layer.eps).rsqrt()
    return g.op("Mul", g.op("Sub", x, g.constant(layer.running_mean)), g.constant(scale))


def export(model: VibeModel, folder: str | Path, digest: str, bits: tuple[int, ...] = (32, 8)) -> list[Path]:
    """Write the graphs into a checkpoint folder; returns their paths. `digest` is that of the folder's weights."""
    folder = Path(folder)
    graphs = {"start.onnx": start(model, digest), "guide.onnx": guide(model, digest)}
    for width in bits:
        graphs["decoder.onnx" if width == 32 else f"decoder.int{width}.onnx"] = decoder(model, digest, width)
    made = []
    for name, graph in graphs.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(graph.SerializeToString())
        made.append(folder / name)
    return made


__all__ = ["export"]
