"""Loads the models that transformers.mjs wrote, compares logits (in float64) and greedy tokens, saves them again."""

import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM

folder = sys.argv[1]
print("transformers", transformers.__version__, "torch", torch.__version__)
with open(f"{folder}/expected.json") as file:
    data = json.load(file)
failed = False
for name, expected in data["models"].items():
    model, info = AutoModelForCausalLM.from_pretrained(
        f"{folder}/{name}", dtype=torch.float32, output_loading_info=True
    )
    problems = {key: list(value) for key, value in info.items() if value}
    model.save_pretrained(f"{folder}/{name}-from-transformers")
    with torch.no_grad():
        tokens = list(expected["prompt"])
        while len(tokens) < len(expected["prompt"]) + len(expected["greedy"]):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        logits = model.double()(torch.tensor([data["tokens"]])).logits[0]
    want = torch.tensor(expected["logits"], dtype=torch.float64)
    error = ((logits - want).abs().max() / want.pow(2).mean().sqrt()).item()
    same = tokens[len(expected["prompt"]) :] == expected["greedy"]
    print(f"{name}: relative error {error:.1e}, greedy tokens equal: {same}, loading problems: {problems}")
    # float32 against float64, and inverse frequencies that transformers rounds at every step
    failed |= error > 2e-5 or not same or bool(problems)
sys.exit(failed)
