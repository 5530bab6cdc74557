"""peers.py - the same rows and items by llama.cpp, with q8_0 and q4_0 keys and values.

The driver of KL is llamacpp.c of the shared folder's tools/peers, whose README says where the libraries
are from; answers are peer_greedy.c's. KL is measured on the model with all its matrices as F32, made by
tests/tools/requantize, against the peer's own f32 keys and values: so that its products round no
activations, as ours do not. Answers are of the model as it is. The peer turns heads by a Hadamard matrix
before it rounds them; `plain` is without.

  LLAMA      folder of libllama.v*.so and its kin
  LLAMA_SRC  folder of its headers: include/, ggml/include/; not needed for drivers that are built"""
import array
import json
import math
import os
import pathlib

import divergence
import generation
import house
import items

DRIVERS = {"llamacpp": house.SHARED / "tools/peers/llamacpp.c", "peer_greedy": house.ROOT / "tests/quality/peer_greedy.c"}
ANSWERS = ["peer-q4_0"]
LETTER = b"\0\1\0\0\0a"  # for tokjson: no special tokens, one byte, that
DEPTHS = [512 << i for i in range(16)]


def libraries():
    return pathlib.Path(os.environ["LLAMA"]) if os.environ.get("LLAMA") else None


def driver(out, name):
    """A driver, built if it is not there."""
    path, source = out / "peer" / name, pathlib.Path(os.environ.get("LLAMA_SRC", "."))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        libs = [next(libraries().glob(p)) for p in ("libllama.v*.so", "libggml.v*.so", "libggml-base.so")]
        house.output(["gcc", "-O2", f"-I{source}/include", f"-I{source}/ggml/include", "-o", path, DRIVERS[name],
                   *libs, "-lm"])
    return path


def call(command, plain=False, text=None):
    env = dict(os.environ, LLBIN=str(libraries()), LD_LIBRARY_PATH=str(libraries()), REF="f32")
    env.pop("LLAMA_ATTN_ROT_DISABLE", None)
    if plain:
        env["LLAMA_ATTN_ROT_DISABLE"] = "1"
    return house.output(command, text, env)


def floats(out, name):
    """The model with its matrices as F32."""
    path = out / "peer" / f"{name}.f32.gguf"
    if not path.exists():
        tool = pathlib.Path(house.PROGRAM).parent / "tests/tools/requantize"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        house.output([tool, "F32", house.model_file(name), new])
        new.replace(path)
    return path


def begins_with_bos(out, name, ids):
    """1 where the peer put BOS before a text, for then one letter has more ids than its own."""
    letter, whole = out / "peer" / f"{name}.letter", out / "peer" / f"{name}.letter.ids"
    letter.write_bytes(LETTER)
    alone = call([driver(out, "llamacpp"), "tokjson", floats(out, name), letter])
    letter.write_bytes(b"a")
    call([driver(out, "llamacpp"), "encode", floats(out, name), letter, whole])
    there = array.array("i", whole.read_bytes())
    return int(len(there) > len(alone.split()) and there[0] == ids[0])


def rows_of(out, name, kind, text, rows, ctx):
    """A file of the rows that ours reads: each begins with BOS where the model wants one."""
    path = out / "peer" / f"{name}.{kind}.{ctx}.ids"
    if not path.exists():
        whole, kl = path.with_suffix(".all"), driver(out, "llamacpp")
        call([kl, "encode", floats(out, name), text, whole])
        ids = array.array("i", whole.read_bytes())
        bos = begins_with_bos(out, name, ids)
        cut = array.array("i")
        for r in range(rows):
            cut += ids[:bos] + ids[bos + r * (ctx - bos):bos + (r + 1) * (ctx - bos)]
        path.write_bytes(cut.tobytes())
        whole.unlink()
    return path


def figures(path, ctx):
    """Of the driver's file: row, position, two ids, KL, same best token, two likelihoods."""
    kl, at, same = [], {}, 0
    for line in path.open():
        word = line.split()
        kl.append(float(word[4]))
        same += int(word[5])
        at.setdefault(sum(int(word[1]) >= d for d in DEPTHS), []).append(kl[-1])
    order = sorted(kl)
    return {"kl": math.fsum(kl) / len(kl), "kl_p99": order[(99 * len(order) + 99) // 100 - 1], "kl_max": order[-1],
            "top1": same / len(kl), "kl_at": [math.fsum(at[d]) / len(at[d]) for d in sorted(at)]}


def measure(out, part, wanted, mode):
    name, kind, text, rows, ctx, _ = wanted
    kt, turned = house.PEERS[mode]
    told = out / "peer" / f"{part}.{name}.{kind}.{mode}.tsv"
    call([driver(out, "llamacpp"), "kl", floats(out, name), kt, kt, rows_of(out, name, kind, text, rows, ctx), ctx,
          rows, told, 512], plain=not turned)
    found = dict(figures(told, ctx), mode=mode, ratio=16 / {"q8_0": 8.5, "q4_0": 4.5}[kt],
                 model=house.MODELS[name][0], text=kind, rows=rows, ctx=ctx)
    house.write(divergence.cell_of(out, part, name, kind, mode), json.dumps(found) + "\n")
    told.unlink()
    house.say(f"{part} {name} {kind} {mode}: KL {found['kl']:.3g}")


def answers(out, name, task, mode):
    """All items of a cell in one process, in their order."""
    cell = out / "generation" / name / f"{task}.{mode}.jsonl"
    wanted = generation.missing(cell, task, generation.SHAPES[name][task])
    if not wanted:
        return
    prompts = b"".join(b"%d\n%s" % (len(p), p) for p in ((i["prefix"] + i["question"]).encode() for i in wanted))
    kt, turned = house.PEERS[mode]
    told = call([driver(out, "peer_greedy"), house.model_file(name), kt, 4096, house.THREADS, generation.MOST],
                plain=not turned, text=prompts).split("\n")
    cell.parent.mkdir(parents=True, exist_ok=True)
    with cell.open("a") as f:
        f.writelines(generation.record(item, answer) for item, answer in zip(wanted, told, strict=False))
    generation.tell(name, task, mode, cell)


def is_here(names):
    """The names whose models are here, said of the others; none without a peer."""
    if not libraries() or not DRIVERS["llamacpp"].exists():
        house.say("skipped: the peer: LLAMA=FOLDER has its libraries, XQUANTD_SHARED=FOLDER has tools/peers")
        return []
    for name in names:
        if not house.model_file(name):
            house.say(f"skipped: the peer's {name}: {house.MODELS[name][0]} is not here; MODELS=FOLDER has it")
    return [n for n in names if house.model_file(n)]


def run(out, names, only=()):
    """KL: all types on kl's rows, q4_0 at depth and on code."""
    work = []
    for part, modes in (("kl", list(house.PEERS)), ("depth", ["peer-q4_0"]), ("domains", ["peer-q4_0"])):
        for wanted in divergence.parts_of(out, part, is_here(names), [m for m in only or modes if m in modes]):
            if wanted[1] == "dialogues" or not wanted[2]:
                continue  # its own template would write other ids
            rows_of(out, *wanted[:5])
            work += [lambda w=wanted, p=part, m=m: measure(out, p, w, m) for m in wanted[5]]
    return house.side_by_side(work, max(1, house.CORES // 2))  # its driver has two threads


def run_generation(out, names, only=()):
    names = [n for n in is_here(names) if n in generation.SHAPES]
    if names:
        driver(out, "peer_greedy")
    return house.side_by_side([lambda n=n, t=t, m=m: answers(out, n, t, m) for n in names
                               for t in generation.SHAPES[n] for m in only or ANSWERS])
