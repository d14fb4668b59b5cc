#!/usr/bin/env python3
"""Greedy decoding in PyTorch: bfloat16 weights, a static cache, one compiled token as a CUDA graph, its products autotuned.

    decode.py --preset 1b --batch 1 [--prompt 512] [--tokens 128]

Prints one line of JSON. The cache holds zeros instead of a prompt's keys and values: what it holds doesn't change the time.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F

from decoder import PRESETS, Decoder, rotary_tables, rotate


class Token(torch.nn.Module):
    """The next token of each sequence; writes the caches at `position`."""

    def __init__(self, preset, batch, room):
        super().__init__()
        self.decoder = Decoder(preset)
        shape = (batch, self.decoder.key_value_heads, room, self.decoder.head_dimension)
        for layer, _ in enumerate(self.decoder.blocks):
            self.register_buffer(f"keys{layer}", torch.zeros(shape))
            self.register_buffer(f"values{layer}", torch.zeros(shape))
        self.room = room

    def forward(self, tokens, position):
        decoder = self.decoder
        x = decoder.table(tokens)
        cosines, sines = rotary_tables(position, decoder.head_dimension, x.dtype)
        visible = (torch.arange(self.room, device=x.device) <= position)[None, None, None]
        for layer, block in enumerate(decoder.blocks):
            query, key, value = block.split_heads(x)
            keys, values = getattr(self, f"keys{layer}"), getattr(self, f"values{layer}")
            keys[:, :, position], values[:, :, position] = rotate(key, cosines, sines), value
            mixed = F.scaled_dot_product_attention(rotate(query, cosines, sines), keys, values, attn_mask=visible, enable_gqa=True)
            x = block.finish(x, mixed)
        return decoder.head(decoder.final_norm(x)).argmax(-1)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="1b")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=128)
    a = parser.parse_args()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Token(a.preset, a.batch, a.prompt + a.tokens + 8).eval()
        first = torch.randint(0, PRESETS[a.preset][5], (a.batch, 1))
    compiled = torch.compile(model, mode="max-autotune", fullgraph=True)

    def run(count):
        tokens, position = first, torch.tensor([a.prompt], device="cuda")
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            tokens = compiled(tokens, position).clone()
            position = position + 1
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    run(8)
    times = sorted(run(a.tokens) for _ in range(3))
    read = 2 * sum(p.numel() for name, p in model.named_parameters() if name != "decoder.table.weight")
    print(json.dumps({
        "peer": "torch " + torch.__version__, "batch": a.batch, "prompt": a.prompt, "ms_per_token": round(times[1] * 1e3, 4),
        "decode_tok_s": round(a.batch / times[1], 1), "weights_gb_per_s": round(read / times[1] / 1e9),
    }), flush=True)


main()
