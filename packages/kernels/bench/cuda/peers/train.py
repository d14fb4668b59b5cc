#!/usr/bin/env python3
"""Training steps in PyTorch: compiled, bfloat16 autocast over float32 weights, fused AdamW, clipping, the fastest fused attention.

    train.py --preset 124m --seq 4096 --batch 16 [--steps 10] [--warm-up 3] [--keep all|attention|products|inputs] [--budget SHARE] [--chunk ROWS]
             [--attention cudnn|flash] [--mode MODE]

Prints one line of JSON. --keep: what the forward pass keeps of a block: what PyTorch's partitioner likes to, its inputs and attention (the rest is
computed again), these and the results of its matrix products, or its inputs only. --budget: with --keep all, the share of that memory that the partitioner may
use (its own solver chooses what to compute again). --chunk: the head and its loss take so many rows at a time, computed again in the
backward pass. --attention: without it, both are timed first. --mode: torch.compile's.
"""

import argparse
import json
import os
import time

# Before PyTorch starts: long cases come close to the card's memory, and fragments must not decide.
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
import torch._functorch.config
import torch.nn.functional as F
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from decoder import ATTENTION, PRESETS, Decoder, attention_by, fastest_attention, rotary_tables

ATTENTION_OPERATIONS = {
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
}
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


def keeping(operations):
    def policy(_, operation, *args, **kwargs):
        return CheckpointPolicy.MUST_SAVE if operation in operations else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


def keep_attention():
    return keeping(ATTENTION_OPERATIONS)


def keep_products():
    return keeping(ATTENTION_OPERATIONS | PRODUCTS)


KEEPERS = {"attention": keep_attention, "products": keep_products}


class Loss(torch.nn.Module):
    """The mean cross-entropy of targets [batch, length] after tokens of that shape; `shape` as in PRESETS."""

    def __init__(self, shape, length, keep="all", chunk=0, device="cuda"):
        super().__init__()
        with torch.device(device):
            self.decoder = Decoder(shape)
        self.keep, self.chunk = keep, chunk
        cosines, sines = rotary_tables(length, self.decoder.head_dimension, device)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    def hidden_states(self, tokens):
        """After the final norm, [batch, length, width]."""
        decoder = self.decoder
        x = decoder.table(tokens)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.bfloat16)
        for block in decoder.blocks:
            if self.keep == "all":
                x = block(x, self.cosines, self.sines)
            else:
                options = {"context_fn": KEEPERS[self.keep]} if self.keep in KEEPERS else {}
                x = checkpoint(block, x, self.cosines, self.sines, use_reentrant=False, **options)
        return decoder.final_norm(x)

    def head_loss(self, x, targets):
        return F.cross_entropy(self.decoder.head(x).float(), targets, reduction="sum")

    def forward(self, tokens, targets):
        x, targets = self.hidden_states(tokens).flatten(0, 1), targets.flatten()
        if self.chunk == 0:
            return self.head_loss(x, targets) / targets.numel()
        pieces = zip(x.split(self.chunk), targets.split(self.chunk))
        return sum(checkpoint(self.head_loss, a, b, use_reentrant=False) for a, b in pieces) / targets.numel()


def make_optimizer(model, rate=1e-3, betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.1):
    """Matrices decay, the weights of norms do not, as in ../../decoder.mjs."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)


def train_step(compiled, optimizer, tokens, targets, attention, maximum_norm=1.0):
    """One step; returns the loss before it, still on the device."""
    with torch.autocast(tokens.device.type, dtype=torch.bfloat16), attention_by(attention):
        loss = compiled(tokens, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], maximum_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="124m")
    parser.add_argument("--seq", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--keep", choices=["all", "attention", "products", "inputs"], default="all")
    parser.add_argument("--budget", type=float)
    parser.add_argument("--chunk", type=int, default=0)
    parser.add_argument("--attention", choices=ATTENTION)
    parser.add_argument("--mode", default="default")
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    if a.budget is not None:
        torch._functorch.config.activation_memory_budget = a.budget
    shape = PRESETS[a.preset]
    width, _, query_heads, key_value_heads, _, vocabulary = shape
    attention, tried = a.attention, {}
    if attention is None:
        attention, tried = fastest_attention((a.batch, query_heads, a.seq, width // query_heads), key_value_heads, torch.bfloat16)

    model = Loss(shape, a.seq, a.keep, a.chunk)
    tokens = torch.randint(0, vocabulary, (a.batch, a.seq), device="cuda")
    targets = torch.randint(0, vocabulary, (a.batch, a.seq), device="cuda")
    optimizer = make_optimizer(model)
    compiled = torch.compile(model, dynamic=False, mode=a.mode)

    start = time.perf_counter()
    for _ in range(a.warm_up):
        loss = train_step(compiled, optimizer, tokens, targets, attention)
    torch.cuda.synchronize()
    warm_up_seconds = time.perf_counter() - start
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(a.steps):
        start = time.perf_counter()
        loss = train_step(compiled, optimizer, tokens, targets, attention)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    times_ms = [round(t * 1e3, 3) for t in times]
    times.sort()
    median = (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2
    print(json.dumps({
        "peer": "torch " + torch.__version__, "cudnn": torch.backends.cudnn.version(), "attention": attention,
        "attention_ms": {k: round(v, 3) for k, v in tried.items()}, "keep": a.keep, "budget": a.budget, "chunk": a.chunk, "mode": a.mode,
        "warm_up_s": round(warm_up_seconds, 1), "steps": a.steps, "ms_per_step": round(median * 1e3, 3),
        "times_ms": times_ms, "tokens_per_s": round(a.batch * a.seq / median, 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "peak_reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2), "loss": round(loss.item(), 4),
    }), flush=True)


if __name__ == "__main__":
    main()
