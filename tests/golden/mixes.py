#!/usr/bin/env python3
"""mixes.py - records which type llama.cpp gives each matrix in its mixes.

  tests/golden/mixes.py QUANTIZE     to tests/golden/mixes.json

QUANTIZE IN OUT FTYPE is a program that calls llama_model_quantize of llama.cpp 0.4 (npm
node-llama-cpp 3.21.1). Needs gguf from PyPI and build/tests/tools/random_model. The same rules
are in server/convert/mix.c, and tests/unit/test_mix.c compares.
"""
import json, os, pathlib, subprocess, sys, tempfile
import gguf

TOOL = os.environ.get("RANDOM_MODEL", "build/tests/tools/random_model")
SHAPE = ("--d 256 --heads 4 --kv-heads 2 --ffn 256 --ctx 512 --type F16 --vocab 8192 "
         "--tokens models/seedling-32m-mha-q8_0.gguf").split()
MODELS = {"llama": "--arch llama --layers 17", "mixtral": "--arch llama --layers 9 --experts 8 --used 2",
          "phi3": "--arch phi3 --layers 8", "gemma": "--arch gemma --layers 6",
          "qwen3moe": "--arch qwen3moe --layers 10 --experts 4 --used 2"}
MIXES = {"Q4_0": 2, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "Q8_0": 7}


def main(quantize):
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in MODELS.items():
            subprocess.run([TOOL, *SHAPE, *arguments.split(), f"{folder}/{name}"], check=True)
            for mix, number in MIXES.items():
                subprocess.run([quantize, f"{folder}/{name}", f"{folder}/q", str(number)], check=True,
                               stderr=subprocess.DEVNULL)
                reader = gguf.GGUFReader(f"{folder}/q")
                arch = reader.fields["general.architecture"].contents()
                value = lambda k: reader.fields[f"{arch}.{k}"].contents() if f"{arch}.{k}" in reader.fields else 0
                types = {t.name: t.tensor_type.name for t in reader.tensors
                         if t.tensor_type.name not in ("F32", "F16")}
                out.append({"model": name, "mix": mix, "layers": int(value("block_count")),
                            "experts": int(value("expert_count")),
                            "tied": "output.weight" not in types, "types": types})
    text = json.dumps({"reference": "llama.cpp 0.4, npm node-llama-cpp 3.21.1", "files": out})
    target = pathlib.Path(__file__).parent / "mixes.json"
    target.write_text(text.replace('{"model"', '\n {"model"') + "\n")


main(sys.argv[1])
