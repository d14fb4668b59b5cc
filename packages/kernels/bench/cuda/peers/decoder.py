"""The decoder of ../../decoder.mjs in PyTorch, as a careful user writes it: what both peers time."""

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

ATTENTION = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def rotary_tables(positions, head_dimension, dtype):
    exponents = torch.arange(0, head_dimension, 2, device=positions.device) / head_dimension
    angles = positions.float()[:, None] * 10000.0**-exponents
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x, cosines, sines):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), 1e-5)


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
    def __init__(self, preset):
        super().__init__()
        width, layers, query_heads, key_value_heads, feed_forward, vocabulary = PRESETS[preset]
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
    for name, backend in ATTENTION.items():
        inputs = [torch.randn(batch, n, length, size, device="cuda", dtype=dtype, requires_grad=True) for n in (heads, key_value_heads, key_value_heads)]
        try:
            with sdpa_kernel([backend]):
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
    return min(times, key=times.get), times
