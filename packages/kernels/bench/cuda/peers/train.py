#!/usr/bin/env python3
"""Training steps in PyTorch: compiled, bfloat16 autocast over float32 weights, fused AdamW, clipping, the fastest fused attention.

    train.py --preset 124m --seq 4096 --batch 16 [--steps 10] [--keep all|attention|inputs] [--chunk ROWS]

Prints one line of JSON. --keep: what the forward pass keeps of a block: all, its inputs and attention (the rest is computed again), or its
inputs. --chunk: the head and its loss take so many rows at a time, computed again in the backward pass.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from decoder import ATTENTION, PRESETS, Decoder, fastest_attention, rotary_tables

KEPT = {
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}


def keep_attention():
    def policy(_, operation, *args, **kwargs):
        return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


class Loss(torch.nn.Module):
    def __init__(self, preset, keep, chunk):
        super().__init__()
        self.decoder, self.keep, self.chunk = Decoder(preset), keep, chunk

    def head_loss(self, x, targets):
        return F.cross_entropy(self.decoder.head(x).float(), targets, reduction="sum")

    def forward(self, tokens, targets):
        decoder = self.decoder
        x = decoder.table(tokens)
        if torch.is_autocast_enabled():
            x = x.to(torch.bfloat16)
        cosines, sines = rotary_tables(torch.arange(tokens.size(1), device=tokens.device), decoder.head_dimension, x.dtype)
        for block in decoder.blocks:
            if self.keep == "all":
                x = block(x, cosines, sines)
            elif self.keep == "inputs":
                x = checkpoint(block, x, cosines, sines, use_reentrant=False)
            else:
                x = checkpoint(block, x, cosines, sines, use_reentrant=False, context_fn=keep_attention)
        x, targets = decoder.final_norm(x).flatten(0, 1), targets.flatten()
        if self.chunk == 0:
            return self.head_loss(x, targets) / targets.numel()
        pieces = zip(x.split(self.chunk), targets.split(self.chunk))
        return sum(checkpoint(self.head_loss, a, b, use_reentrant=False) for a, b in pieces) / targets.numel()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="124m")
    parser.add_argument("--seq", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--keep", choices=["all", "attention", "inputs"], default="all")
    parser.add_argument("--chunk", type=int, default=0)
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    width, _, query_heads, key_value_heads, _, vocabulary = PRESETS[a.preset]
    attention, tried = fastest_attention((a.batch, query_heads, a.seq, width // query_heads), key_value_heads, torch.bfloat16)

    with torch.device("cuda"):
        model = Loss(a.preset, a.keep, a.chunk)
        tokens = torch.randint(0, vocabulary, (a.batch, a.seq))
        targets = torch.randint(0, vocabulary, (a.batch, a.seq))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = torch.compile(model)

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16), sdpa_kernel([ATTENTION[attention]]):
            loss = compiled(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    for _ in range(3):
        loss = step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(a.steps):
        start = time.perf_counter()
        loss = step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    times.sort()
    median = times[len(times) // 2]
    print(json.dumps({
        "peer": "torch " + torch.__version__, "attention": attention, "attention_ms": {k: round(v, 3) for k, v in tried.items()},
        "keep": a.keep, "chunk": a.chunk, "steps": a.steps, "ms_per_step": round(median * 1e3, 2),
        "spread": round((times[-1] - times[0]) / median, 4), "tokens_per_s": round(a.batch * a.seq / median),
        "peak_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2), "loss": round(loss.item(), 4),
    }), flush=True)


main()
