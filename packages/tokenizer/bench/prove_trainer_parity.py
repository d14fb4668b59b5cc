"""The Hugging Face side of prove-trainer-parity.mjs: trains with the settings of a job file and prints hashes as JSON."""

import hashlib
import json
import sys
import time

import tokenizers
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer


def digest(parts):
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode("utf-8", "surrogatepass"))
        sha.update(b"\n")
    return sha.hexdigest()


def main(job_path):
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    with open(job["corpus"], encoding="utf-8", newline="\n") as file:
        texts = [json.loads(line)["text"] for line in file]
    with open(job["tokenizer"], encoding="utf-8") as file:
        definition = json.load(file)

    # Only the pre-tokenizer is taken from the file under test; the model starts empty.
    tokenizer = Tokenizer(BPE())
    shell = dict(definition, added_tokens=[], model={"type": "BPE", "vocab": {}, "merges": []})
    tokenizer.pre_tokenizer = Tokenizer.from_str(json.dumps(shell)).pre_tokenizer
    settings = {}
    if "maximumTokenLength" in job:
        settings["max_token_length"] = job["maximumTokenLength"]
    trainer = BpeTrainer(
        vocab_size=job["vocabularySize"],
        min_frequency=job["minimumFrequency"],
        special_tokens=job["specialTokens"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **settings,
    )
    start = time.perf_counter()
    tokenizer.train_from_iterator(texts, trainer)
    seconds = time.perf_counter() - start
    model = json.loads(tokenizer.to_str())["model"]

    # The file under test, loaded as it is.
    loaded = Tokenizer.from_file(job["tokenizer"])
    sample = texts[:: job["sampleEvery"]]
    ids = [i for encoding in loaded.encode_batch(sample, add_special_tokens=False) for i in encoding.ids]
    print(
        json.dumps(
            {
                "library": f"tokenizers {tokenizers.__version__} (Python {sys.version.split()[0]})",
                "tokens": len(model["vocab"]),
                "vocabularySha256": digest(sorted(model["vocab"], key=model["vocab"].get)),
                "mergesSha256": digest(" ".join(merge) for merge in model["merges"]),
                "idsSha256": digest(map(str, ids)),
                "seconds": seconds,
            }
        )
    )


main(sys.argv[1])
