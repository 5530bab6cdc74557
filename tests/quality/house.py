"""house.py - what the parts of tests/quality share: models, modes, texts, cells.

A cell is one file below OUT: PART/MODEL/NAME.json (one figure) or .jsonl (an answer a line). What is
there is not measured again, so a run that was broken off goes on where it was; a file is written under
another name first, so that none is ever half a figure."""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("XQUANTD_SHARED", ROOT / "../shared")).resolve()
PROGRAM = os.environ.get("XQUANTD", str(ROOT / "build/xquantd"))
CORES = len(os.sched_getaffinity(0))
JOBS = int(os.environ.get("JOBS", 0)) or max(1, CORES // 4)
THREADS = int(os.environ.get("THREADS", 0)) or max(1, CORES // JOBS)
STARTED = set()  # processes that run
CELLS = {"MODES": int(os.environ.get("MODES", 4))}  # modes that one process measures side by side

# name: file, the longest context that is measured, what the tables call it
MODELS = {
    "smollm2": ("smollm2-135m-instruct-q4_1.gguf", 8192, "SmolLM2-135M-Instruct, Q4_1"),
    "qwen": ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", 8192, "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M"),
    "gemma": ("gemma-3-270m-q4_k_m.gguf", 8192, "Gemma 3 270M, Q4_K_M"),
    "seedling-mha": ("seedling-32m-mha-f16.gguf", 2048, "seedling-32m-mha, F16"),
    "seedling-gqa": ("seedling-38m-gqa-f16.gguf", 2048, "seedling-38m-gqa, F16"),
}
KLT = ["klt5", "klt7.5", "klt12", "klt16", "klt20", "klt30", "klt40"]
MODES = ["kv16", "kivi8", "kivi4", "kivi3", "kivi2", "xq8", "xq4", "xq3", "xq2", "cl4", "cl3", "cl2"] + KLT
FEW = ["kivi4", "xq4", "cl3", "klt7.5", "klt12", "klt16", "klt20"]
# The peer's types of keys and values, with its rotation of heads and without.
PEERS = {"peer-q8_0": ("q8_0", True), "peer-q8_0-plain": ("q8_0", False),
         "peer-q4_0": ("q4_0", True), "peer-q4_0-plain": ("q4_0", False)}


def say(text):
    print(text, file=sys.stderr, flush=True)


def model_file(name):
    """The model's file: in $MODELS, in the shared folder, or the one that ships; None: in none of them."""
    for folder in (os.environ.get("MODELS"), SHARED / "models", ROOT / "models"):
        path = folder and pathlib.Path(folder) / MODELS[name][0]
        if path and path.exists():
            return path
    return None


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{threading.get_ident()}.new")
    new.write_text(text)
    new.replace(path)


def read(path):
    """The figures of a cell; None: not measured."""
    return json.loads(path.read_text()) if path.exists() else None


def environment():
    """Plans that lie in $MODELS are found, wherever the text and the program are."""
    return dict(os.environ, **({"XQUANTD_PLAN_DIR": os.environ["MODELS"]}
                               if "MODELS" in os.environ and "XQUANTD_PLAN_DIR" not in os.environ else {}))


def start(command, **more):
    """A process that ends with this one."""
    process = subprocess.Popen([str(c) for c in command], **more)
    STARTED.add(process)
    return process


def end_all(*_):
    """On a signal: nothing that was started here outlives it. What is whole of the cells stays."""
    for process in list(STARTED):
        if process.poll() is None:
            process.kill()
    os._exit(1)


def output(command, text=None, env=None):
    """What a command prints, given the bytes of text. RuntimeError: it failed, and the end of what it said."""
    process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    env=env or environment())
    told, why = process.communicate(text)
    STARTED.discard(process)
    if process.returncode:
        raise RuntimeError(f"failed: {' '.join(map(str, command))}\n{why.decode(errors='replace')[-2000:]}")
    return told.decode(errors="replace")


def side_by_side(work, jobs=None):
    """Call each of a list of functions, JOBS at once; True: none failed."""
    good = True
    with concurrent.futures.ThreadPoolExecutor(jobs or JOBS) as team:
        for one in [team.submit(w) for w in work]:
            try:
                one.result()
            except (OSError, RuntimeError) as e:
                say(f"{type(e).__name__}: {e}")
                good = False
    return good
