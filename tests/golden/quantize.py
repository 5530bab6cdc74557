#!/usr/bin/env python3
"""quantize.py - records how far llama.cpp's quantizers are from what they are given.

  tests/golden/quantize.py LIBGGML_BASE.so     to tests/golden/quantize.json

Needs numpy and gguf from PyPI, and ggml's library, as npm node-llama-cpp 3.21.1 ships it. The
numbers are those of tests/unit/test_quantize_peer.c, which holds ours to the same errors: sums
of squares, each times its weight where the quantizer is told of weights.
"""
import ctypes, json, pathlib, sys
import gguf, numpy as np

N, TYPES = 16384, {"Q4_0": 2, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14}


def random(seed, n):
    """next_random of the test, n times."""
    out, state = np.empty(n, np.float32), seed
    for i in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        top = state >> 32
        out[i] = np.float32(top - 2**32 if top >= 2**31 else top) / np.float32(2147483648.0)
    return out


def data(kind):
    r = random(7, 4 * N).reshape(N, 4)
    x = np.float32(0)
    for k in range(4):
        x = x + r[:, k]
    if kind == "tails":
        x = x * x * x
    if kind == "shifted":
        x = x + np.float32(1.5)
    return (np.float32(0.02) * x).astype(np.float32)


def weights():
    return (np.float32(0.05) + np.abs(random(11, N)) ** 2).astype(np.float32)


def main(path):
    lib = ctypes.CDLL(path)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer = lambda a: a.ctypes.data_as(ctypes.c_void_p)
    out = {"reference": "ggml of llama.cpp, npm node-llama-cpp 3.21.1", "errors": []}
    for name, number in TYPES.items():
        for kind in ("bell", "tails", "shifted"):
            for weighed in (False, True):
                x, w = data(kind), weights()[:1024]
                block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)]
                dst = np.zeros(N // block * size, np.uint8)
                lib.ggml_quantize_chunk(number, pointer(x), pointer(dst), ctypes.c_int64(0),
                                        ctypes.c_int64(N // 1024), ctypes.c_int64(1024),
                                        pointer(w) if weighed else None)
                y = gguf.quants.dequantize(dst, gguf.GGMLQuantizationType(number)).astype(np.float64)
                by = np.tile(w, N // 1024) if weighed else np.ones(N)
                error = float((by * (y.reshape(-1) - x) ** 2).sum())
                out["errors"].append({"type": name, "data": kind, "weighed": weighed, "error": error})
    target = pathlib.Path(__file__).parent / "quantize.json"
    target.write_text(json.dumps(out).replace('{"type"', '\n {"type"') + "\n")


main(sys.argv[1])
