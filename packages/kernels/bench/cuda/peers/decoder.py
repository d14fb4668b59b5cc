"""The decoder of ../../decoder.mjs in PyTorch, as a careful user writes it: what all peers run."""

import contextlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# width, layers, query heads, key/value heads, feed-forward width, vocabulary
PRESETS = {
    "tiny": (256, 6, 8, 4, 704, 8192),
    "124m": (768, 12, 12, 4, 2048, 32768),
    "1b": (2048, 16, 32, 8, 8192, 65536),
    "4b": (3072, 36, 24, 8, 8192, 100352),
}
NORM_EPSILON = 1e-5
ROPE_BASE = 10000.0

ATTENTION = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def attention_by(name):
    """The context in which scaled_dot_product_attention is traced, and so compiled, with this implementation; None: PyTorch's own choice."""
    return contextlib.nullcontext() if name is None else sdpa_kernel([ATTENTION[name]])


def rotary_tables(length, head_dimension, device):
    """Cosines and sines of every position, float32 [length, head dimension / 2]; made once, outside what is compiled."""
    exponents = torch.arange(0, head_dimension, 2, dtype=torch.float64) / head_dimension
    frequencies = (ROPE_BASE**-exponents).float().double()
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().to(device, torch.float32), angles.sin().to(device, torch.float32)


def rotate(x, cosines, sines):
    """Rotates dimension i with dimension i + half, in float32, rounded once. Compiled, it is one pass."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1).to(x.dtype)


class RmsNorm(nn.Module):
    """In float32, rounded once. Compiled, it is one pass."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + NORM_EPSILON)
        return (wide * scale * self.weight.float()).to(x.dtype)


class Block(nn.Module):
    def __init__(self, width, query_heads, key_value_heads, feed_forward):
        super().__init__()
        self.heads = (query_heads, key_value_heads, width // query_heads)
        self.attention_norm, self.feed_forward_norm = RmsNorm(width), RmsNorm(width)
        self.qkv = nn.Linear(width, (query_heads + 2 * key_value_heads) * self.heads[2], bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)

    def split_heads(self, x):
        """The block's input -> query, key and value [batch, heads, length, head dimension], not yet rotated."""
        query_heads, key_value_heads, size = self.heads
        parts = self.qkv(self.attention_norm(x)).split([query_heads * size, key_value_heads * size, key_value_heads * size], -1)
        return [part.unflatten(-1, (-1, size)).transpose(1, 2) for part in parts]

    def finish(self, x, mixed):
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)

    def forward(self, x, cosines, sines):
        query, key, value = self.split_heads(x)
        query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
        return self.finish(x, F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True))


class Decoder(nn.Module):
    """`shape`: as an entry of PRESETS."""

    def __init__(self, shape):
        super().__init__()
        width, layers, query_heads, key_value_heads, feed_forward, vocabulary = shape
        self.head_dimension, self.key_value_heads = width // query_heads, key_value_heads
        self.table = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, query_heads, key_value_heads, feed_forward) for _ in range(layers))
        self.final_norm = RmsNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)


def fastest_attention(shape, key_value_heads, dtype):
    """Which of the fused implementations runs forward and backward fastest at this shape [batch, heads, length, head dimension]."""
    batch, heads, length, size = shape
    times = {}
    for name in ATTENTION:
        inputs = [torch.randn(batch, n, length, size, device="cuda", dtype=dtype, requires_grad=True) for n in (heads, key_value_heads, key_value_heads)]
        try:
            with attention_by(name):
                for attempt in range(4):
                    if attempt == 2:
                        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                        start.record()
                    F.scaled_dot_product_attention(*inputs, is_causal=True, enable_gqa=True).sum().backward()
                end.record()
            torch.cuda.synchronize()
            times[name] = start.elapsed_time(end) / 2
        except RuntimeError:
            pass  # this version has it not for such shapes
    if not times:
        raise SystemExit("PyTorch has no fused attention for this shape here.")
    del inputs
    torch.cuda.empty_cache()
    return min(times, key=times.get), times
