#!/usr/bin/env python3
"""PyTorch's side of ../parity/parity.mjs: the same steps from the same weights and tokens, and the logits.

    parity.py FOLDER [--device cuda] [--attention cudnn|flash] [--eager]

Reads plan.json, tokens.bin, weights.safetensors and trained.safetensors, the weights that the other side ended with. Trains as train.py does
(bfloat16 autocast over float32 weights, compiled) and writes peer.json, then again uncompiled, which rounds elsewhere: again.json. The planned rows of the
first batch's logits with both weights: peer.*.logits and again.*.logits so; float32.*.logits in float32, uncompiled, attention written out; and exact.*.logits
the same from matrices rounded to bfloat16, which is what both sides multiply by.
"""

import argparse
import json
import os
import time

import torch
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from decoder import ATTENTION, NORM_EPSILON, ROPE_BASE, attention_by
from train import Loss, make_optimizer, train_step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--attention", choices=ATTENTION)
    parser.add_argument("--eager", action="store_true")
    a = parser.parse_args()
    attention = a.attention or ("cudnn" if a.device == "cuda" else None)
    with open(os.path.join(a.folder, "plan.json")) as file:
        plan = json.load(file)
    settings, preset = plan["settings"], plan["preset"]
    assert (settings["normEpsilon"], settings["ropeBase"], settings["weightDecayOfNorms"]) == (NORM_EPSILON, ROPE_BASE, 0), settings
    shape = tuple(preset[key] for key in ("width", "layers", "queryHeads", "keyValueHeads", "feedForward", "vocabulary"))
    with open(os.path.join(a.folder, "tokens.bin"), "rb") as file:
        stream = torch.frombuffer(bytearray(file.read()), dtype=torch.int32)
    stream = stream.view(plan["steps"], plan["sequences"], plan["length"] + 1).to(a.device, torch.int64)
    rows = torch.tensor(plan["rows"], device=a.device)
    model = Loss(shape, plan["length"], device=a.device)

    def load(name):
        weights = load_file(os.path.join(a.folder, name), device=a.device)
        assert all(tensor.dtype == torch.float32 for tensor in weights.values())
        model.decoder.load_state_dict(weights, strict=True)

    def chosen_logits(tokens):
        return model.decoder.head(model.hidden_states(tokens).flatten(0, 1)[rows])

    def write(side, weights, logits):
        logits.float().cpu().numpy().tofile(os.path.join(a.folder, f"{side}.{weights}.logits"))

    compiled_logits = chosen_logits if a.eager else torch.compile(chosen_logits, dynamic=False)

    @torch.no_grad()
    def write_logits(weights):
        tokens = stream[0, :, :-1].contiguous()
        torch.set_float32_matmul_precision("high")
        with torch.autocast(a.device, dtype=torch.bfloat16), attention_by(attention):
            write("peer", weights, compiled_logits(tokens))
            if not a.eager:
                write("again", weights, chosen_logits(tokens))
        torch.set_float32_matmul_precision("highest")
        for side in ("float32", "exact"):
            if side == "exact":
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.copy_(parameter.bfloat16())
            with sdpa_kernel([SDPBackend.MATH]):
                # One sequence at a time: attention's scores are all in memory.
                hidden = torch.cat([model.hidden_states(tokens[i : i + 1]) for i in range(tokens.size(0))])
                write(side, weights, model.decoder.head(hidden.flatten(0, 1)[rows]))

    for weights, name in (("trained", "trained.safetensors"), ("initial", "weights.safetensors")):
        load(name)
        write_logits(weights)

    torch.set_float32_matmul_precision("high")
    name = f"torch {torch.__version__}" + (f", {torch.cuda.get_device_name()}, attention by {attention}" if a.device == "cuda" else ", on the processor")

    def train(side, compiled):
        load("weights.safetensors")
        optimizer = make_optimizer(model, betas=(settings["beta1"], settings["beta2"]), epsilon=settings["epsilon"], weight_decay=settings["weightDecay"])
        forward = torch.compile(model, dynamic=False) if compiled else model
        losses = []
        start = time.perf_counter()
        for step, rate in enumerate(plan["rates"]):
            for group in optimizer.param_groups:
                group["lr"] = rate
            tokens, targets = stream[step, :, :-1].contiguous(), stream[step, :, 1:].contiguous()
            losses.append(train_step(forward, optimizer, tokens, targets, attention, settings["maximumNorm"]))
        losses = [loss.item() for loss in losses]
        seconds = time.perf_counter() - start
        with open(os.path.join(a.folder, f"{side}.json"), "w") as file:
            json.dump({
                "name": name + (", compiled" if compiled else ", not compiled"), "precision": "bfloat16 autocast over float32", "rounds": True,
                "seconds": round(seconds, 3), "losses": losses,
            }, file)
        print(json.dumps({"side": side, "seconds": round(seconds, 3), "first": losses[0], "last": losses[-1]}), flush=True)

    train("peer", not a.eager)
    if not a.eager:
        train("again", False)


if __name__ == "__main__":
    main()
