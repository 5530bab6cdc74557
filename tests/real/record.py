#!/usr/bin/env python3
"""record.py - figures of real models from llama.cpp: tests/real/record.py DRIVER FOLDER

DRIVER is a small program on libllama that knows `tokjson`, `encode`, `kl` and `greedy`; FOLDER has
the files of MODELS, whose names are the catalogue's. Writes strings.txt and NAME.json beside this file:

  strings   FNV-1a, 32 bits, of the ids (int32, little-endian) of each line of strings.txt; null
            where the peer does not read the file as its vocabulary's authors do (OTHERWISE)
  text      count and FNV-1a of the ids of the first 300,000 bytes of models/calibration.txt
  logprobs  of the tokens 1 .. 511 of that text after those before them, keys and values f16
  greedy    64 greedy tokens after the first 32, 64, 96 and 128 ids of the text
  kl        of the tokens 1 .. 1,023 of the text with q8_0 and q4_0 keys and values, from f16 ones
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unicodedata

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "vocabularies"))
import strings as made  # noqa: E402

MODELS = ("smollm2-135m-instruct", "gemma-3-270m", "qwen2.5-coder-0.5b-instruct")
# The peer does not normalize, which Qwen's vocabulary wants: it is asked with normal text. It takes
# </s> of Gemma's, a piece of HTML there, for a control token, and says so when it loads the file.
NORMAL = ("qwen2.5-coder-0.5b-instruct",)
OTHERWISE = {"gemma-3-270m": "</s>"}
EVERY, TEXT_BYTES, LOGPROBS, KL_TOKENS, GREEDY = 3, 300_000, 512, 1024, 64


def fnv(data):
    h = 0x811C9DC5
    for b in data:
        h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    return h


def run(driver, *args, **env):
    return subprocess.run([driver, *map(str, args)], check=True, capture_output=True, text=True,
                          env={**os.environ, **env}).stdout


def write_strings():
    texts = made.strings()[::EVERY]
    (HERE / "strings.txt").write_text("".join(json.dumps(s) + "\n" for s in texts), encoding="ascii")
    return texts


def pack(ids):
    return struct.pack(f"<{len(ids)}i", *ids)


def hash_strings(driver, name, model, texts, tokens):
    texts = [unicodedata.normalize("NFC", s) if name in NORMAL else s for s in texts]
    tokens.write_bytes(b"".join(b"\0" + struct.pack("<I", len(b)) + b for b in (s.encode() for s in texts)))
    lines = run(driver, "tokjson", model, tokens).split("\n")
    return [None if name in OTHERWISE and OTHERWISE[name] in s else fnv(pack(list(map(int, line.split()))))
            for s, line in zip(texts, lines)]


def record(driver, name, model, texts, room):
    tokens, text, ids, kl = (room / n for n in ("strings", "text", "ids", "kl"))
    text.write_bytes((HERE.parent.parent / "models/calibration.txt").read_bytes()[:TEXT_BYTES])
    run(driver, "encode", model, text, ids)
    all_ids = struct.unpack(f"<{ids.stat().st_size // 4}i", ids.read_bytes())
    found = {}
    for kind in ("q8_0", "q4_0"):
        out = run(driver, "kl", model, kind, kind, ids, KL_TOKENS, 1, kl, 512)
        rows = [line.split("\t") for line in kl.read_text().splitlines()]
        found[kind] = float(out.split("KL ")[1].split()[0])
    prompts = room / "prompts"
    prompts.write_text("".join(" ".join(map(str, all_ids[:n])) + "\n" for n in (32, 64, 96, 128)))
    greedy = [list(map(int, line.split())) for line in run(driver, "greedy", model, "f16", GREEDY, prompts).splitlines()]
    return {"strings": hash_strings(driver, name, model, texts, tokens),
            "text": {"bytes": TEXT_BYTES, "count": len(all_ids), "fnv": fnv(ids.read_bytes())},
            "logprobs": [round(-float(r[6]), 4) for r in rows[:LOGPROBS - 1]],
            "greedy": greedy, "kl": found}


def main():
    driver, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    texts = write_strings()
    rows = [line.split("\t") for line in (HERE.parent.parent / "models/catalog.tsv").read_text().splitlines()]
    for name, file in ((r[0], r[5]) for r in rows if r[0] in MODELS):
        with tempfile.TemporaryDirectory() as room:
            found = record(driver, name, folder / file, texts, pathlib.Path(room))
        found = {"engine": "llama.cpp 0.4.0 of npm node-llama-cpp 3.21.1, two threads, flash attention", **found}
        out = HERE / (name + ".json")
        out.write_text(json.dumps(found, separators=(",", ":")).replace('],"', '],\n"') + "\n")
        print(out, found["kl"], found["text"])


main()
