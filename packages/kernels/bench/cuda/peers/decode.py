#!/usr/bin/env python3
"""Greedy decoding in PyTorch: bfloat16 weights, a static cache, one compiled token as a CUDA graph, its products autotuned.

    decode.py --preset 1b --batch 1 [--prompt 512] [--runs 10] [--tokens 12] [--attention repeated|grouped|flex] [--mode MODE]

Prints one line of JSON: the median of --runs times --tokens tokens each, after 8 that warm up. The cache holds zeros instead of a prompt's keys and
values: what it holds doesn't change the time. --attention: scaled_dot_product_attention with each key head repeated for its query heads, or with
these as the rows of one product, or flex_attention, which splits the keys of a sequence. --mode: torch.compile's.
"""

import argparse
import json
import time

import torch
import torch._dynamo
import torch.nn.functional as F
from torch.nn.attention.flex_attention import flex_attention

from decoder import PRESETS, Decoder, rotary_tables, rotate

WARM_UP = 8


class Token(torch.nn.Module):
    """The next token of each sequence, int64 [batch, 1]; writes the caches at `position`, int64 [1]."""

    def __init__(self, shape, batch, room, attention="repeated", device="cuda"):
        super().__init__()
        with torch.device(device):
            self.decoder = Decoder(shape)
            cache = (batch, self.decoder.key_value_heads, room, self.decoder.head_dimension)
            for layer, _ in enumerate(self.decoder.blocks):
                self.register_buffer(f"keys{layer}", torch.zeros(cache))
                self.register_buffer(f"values{layer}", torch.zeros(cache))
            self.register_buffer("places", torch.arange(room))
        cosines, sines = rotary_tables(room, self.decoder.head_dimension, device)
        self.register_buffer("cosines", cosines)
        self.register_buffer("sines", sines)
        # A CUDA graph may write them where they are.
        for buffer in self.buffers():
            torch._dynamo.mark_static_address(buffer)
        self.attention = attention

    def attend(self, query, keys, values, position):
        if self.attention == "flex":
            last = position[0]

            def visible(score, batch, head, row, place):
                return torch.where(place <= last, score, -float("inf"))

            return flex_attention(query, keys, values, score_mod=visible, enable_gqa=True)
        visible = (self.places <= position)[None, None, None]
        if self.attention == "repeated":
            return F.scaled_dot_product_attention(query, keys, values, attn_mask=visible, enable_gqa=True)
        rows = query.squeeze(2).unflatten(1, (self.decoder.key_value_heads, -1))
        return F.scaled_dot_product_attention(rows, keys, values, attn_mask=visible).flatten(1, 2).unsqueeze(2)

    def logits(self, tokens, position):
        decoder = self.decoder
        x = decoder.table(tokens)
        cosines, sines = self.cosines[position], self.sines[position]
        for layer, block in enumerate(decoder.blocks):
            query, key, value = block.split_heads(x)
            keys, values = getattr(self, f"keys{layer}"), getattr(self, f"values{layer}")
            keys[:, :, position], values[:, :, position] = rotate(key, cosines, sines), value
            x = block.finish(x, self.attend(rotate(query, cosines, sines), keys, values, position))
        return decoder.head(decoder.final_norm(x))

    def forward(self, tokens, position):
        return self.logits(tokens, position).argmax(-1)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="1b")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--attention", choices=["repeated", "grouped", "flex"], default="repeated")
    parser.add_argument("--mode", default="max-autotune")
    a = parser.parse_args()
    torch.set_default_dtype(torch.bfloat16)
    # A multiple of eight, which fused attention likes better.
    room = -(-(a.prompt + WARM_UP + a.runs * a.tokens) // 8) * 8
    model = Token(PRESETS[a.preset], a.batch, room, a.attention).eval()
    compiled = torch.compile(model, mode=a.mode, fullgraph=True, dynamic=False)
    tokens = torch.randint(0, PRESETS[a.preset][5], (a.batch, 1), device="cuda")
    position = torch.tensor([a.prompt], device="cuda")

    def advance(count):
        nonlocal tokens, position
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            tokens = compiled(tokens, position).clone()
            position = position + 1
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    advance(WARM_UP)
    torch.cuda.reset_peak_memory_stats()
    times = [advance(a.tokens) for _ in range(a.runs)]
    times_ms = [round(t * 1e3, 4) for t in times]
    times.sort()
    median = (times[(a.runs - 1) // 2] + times[a.runs // 2]) / 2
    read = 2 * sum(p.numel() for name, p in model.named_parameters() if name != "decoder.table.weight")
    print(json.dumps({
        "peer": "torch " + torch.__version__, "batch": a.batch, "prompt": a.prompt, "attention": a.attention, "mode": a.mode, "runs": a.runs,
        "tokens": a.tokens, "ms_per_token": round(median * 1e3, 4), "times_ms": times_ms,
        "decode_tok_s": round(a.batch / median, 1), "weights_gb_per_s": round(read / median / 1e9),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "peak_reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }), flush=True)


if __name__ == "__main__":
    main()
