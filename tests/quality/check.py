"""check.py - the small part of tests/quality that runs among the tests: on the model that ships.

Items are what they were; answers are judged right; a run that was broken off goes on, and is rendered;
KL of kv16 and klt12 on two rows is within what was recorded."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.update(ITEMS="6", MODES="2")
import divergence
import generation
import house
import items
import render

# Of items.make with the shapes of generation.py: another figure is another measurement.
ITEMS = {"smollm2 keys": "a7da3d3ef7240e66", "smollm2 sums": "124732a068822b34", "smollm2 changes": "9f0411ebdf20e84d", "qwen keys": "9ec87071321018ed", "qwen sums": "f32e5726aa6b976f",
         "qwen changes": "7b163126bf3d8e18"}
# KL on 2 rows of 512 tokens of models/calibration.txt, and 15 in 100 more.
MOST = {"kv16": 9.8e-8, "klt12": 3.2e-5}

passed = failed = 0


def check(name, good):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"not ok: {name}")


def check_items():
    for name, shapes in generation.SHAPES.items():
        for task, shape in shapes.items():
            text = json.dumps(items.make(task, shape, 40), sort_keys=True)
            found = hashlib.sha256(text.encode()).hexdigest()[:16]
            check(f"items of {name} {task}: {found}", found == ITEMS[f"{name} {task}"])
    keys = items.make("keys", {"lines": 40, "codes": 4, "digits": 5, "shots": 1}, 3)
    check("a key stands once in its text", all(k["prefix"].count(f" is {k['expects']}") == 1 for k in keys))
    check("a shot stands answered", keys[0]["prefix"].count("Answer:") == 1)
    total = items.make("sums", {"digits": [3, 2], "lines": 2, "shots": 0}, 1)[0]["expects"].replace("=", "+").split(" + ")
    check("a sum is right", int(total[0]) + int(total[1]) == int(total[2]))
    moves = items.make("changes", {"people": 8, "asked": 3, "shots": 0}, 3)
    for move in moves:
        who = move["question"].split()[3]
        last = [line for line in move["prefix"].splitlines() if line.startswith(f"{who} ")][-1]
        check("the last move is the answer", last.endswith(f" {move['expects']}"))


def check_match():
    item = {"expects": "12 + 3 = 15", "id": 0}
    for answer, right in ((" 12 + 3 = 15", True), ("12 + 3 = 15 \nand", True), (" 12 + 3 = 15.", False), ("", False),
                          (" 12 + 3 = 16", False), (" so 12 + 3 = 15", False)):
        check(f"match of {answer!r}", items.is_right(item, answer) is right)


def check_kl(out):
    """Through the functions that measure, on the model that ships."""
    house.MODELS["small"] = ("seedling-32m-mha-q8_0.gguf", 512, "small, Q8_0")
    divergence.text_file = lambda *_: house.ROOT / "models/calibration.txt"
    divergence.TEXTS["kl"] = ("prose", 2, 512, list(MOST))
    os.environ.update(MODELS=str(house.ROOT / "models"), XQUANTD_PLAN_DIR=str(house.ROOT / "models"))
    check("kl is measured", divergence.run(out, "kl", ["small"]))
    found = render.cells(out, "kl", "prose", ["small"], MOST)
    for mode, most in MOST.items():
        kl = found["small", mode]["kl"]
        check(f"KL of {mode}: {kl:.3g}, at most {most}", 0 < kl <= most)
    check("its depths are one", found["small", "kv16"]["kl_at"] == [found["small", "kv16"]["kl"]])
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.json")}
    check("nothing is measured again", divergence.run(out, "kl", ["small"]) and
          before == {p: p.stat().st_mtime_ns for p in out.rglob("*.json")})


def check_generation(out):
    """Answers by the server; one cut off is asked for again."""
    generation.SHAPES["small"] = {"changes": {"people": 8, "asked": 3, "shots": 1}}
    generation.MODES = ["kv16", "klt12"]
    check("answers are had", generation.run(out, ["small"]))
    cell = out / "generation/small/changes.klt12.jsonl"
    whole = cell.read_text()
    cell.write_text(whole[:-10])
    check("the one that was cut off is had again", generation.run(out, ["small"]))
    check("it is the same", generation.read_answers(cell) == {json.loads(x)["id"]: json.loads(x)
                                                               for x in whole.splitlines() if x})
    check("six are there", len(generation.read_answers(cell)) == 6)


def check_signal():
    """What was started ends with the run that is stopped."""
    code = ("import house, signal; signal.signal(signal.SIGTERM, house.end_all); p = house.start(['sleep', '600']); "
            "print(p.pid, flush=True); p.wait()")
    run = subprocess.Popen([sys.executable, "-c", code], cwd=house.ROOT / "tests/quality", stdout=subprocess.PIPE)
    started = int(run.stdout.readline())
    run.terminate()
    run.wait(30)
    for _ in range(300):
        state = pathlib.Path(f"/proc/{started}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(.1)
    else:
        os.kill(started, 9)
        check("what was started ends, too", False)
        return
    check("what was started ends, too", run.returncode == 1)


def check_render(out):
    page = out / "page.md"
    page.write_text("a\n<!-- measured: summary -->\n<!-- /measured -->\n<!-- measured: kl small -->\nold\n"
                    "<!-- /measured -->\n<!-- measured: generation -->\n<!-- /measured -->\nb\n")
    check("a page is rendered", render.run(out, page))
    text = page.read_text()
    check("of all modes", "| `klt12` | 12.00 | " in text and "| `kv16` | 1.00 | " in text and "old" not in text)
    check("with answers", "| small | 40 changes | " in text and text.startswith("a\n") and text.endswith("b\n"))
    render.run(out, page)
    check("twice is once", page.read_text() == text)
    page.write_text("")
    try:
        check("a page without marks is refused", render.run(out, page) is None)
    except KeyError:
        check("a page without marks is refused", True)


def main():
    check_items()
    check_match()
    check_signal()
    with tempfile.TemporaryDirectory(prefix="xquantd-test-") as folder:
        out = pathlib.Path(folder)
        check_kl(out)
        check_generation(out)
        render.SHORT["small"] = "small"
        check_render(out)
    print(f"{passed} passed, {failed} failed, 0 skipped")


main()
