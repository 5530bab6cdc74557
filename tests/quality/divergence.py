"""divergence.py - KL of cache modes against exact keys and values, by `xquantd perplexity`.

  kl       every mode, 8 rows of 2,048 tokens of WikiText-2
  domains  a few modes, 4 rows of 2,048 of dialogues in the model's template, and of code
  depth    a few modes, 2 rows as long as the model's context, 8,192 at most

Code is code.txt: sources of this project as they were, of which no plan was learned; dialogues are those
of the shared folder that models/dialogues.jsonl has not.

Products in floats and rebuilt keys and values in pages as served: what `perplexity` does if it is told
nothing else. Modes that lack a figure are measured a few at a time, each beside kv32."""
import json

import house

TEXTS = {"kl": ("prose", 8, 2048, house.MODES), "domains": (None, 4, 2048, house.FEW),
         "depth": ("prose", 2, None, ["kivi4", "klt7.5", "klt12", "klt20"])}


def dialogues(out):
    """Dialogues that no plan was learned from, as a file; None: there are none here."""
    path, found = out / "dialogues.jsonl", house.SHARED / "data/dialogues.jsonl"
    if not path.exists() and found.exists():
        def key(line):
            return json.dumps(json.loads(line)["messages"])
        learned = {key(line) for line in (house.ROOT / "models/dialogues.jsonl").open()}
        fresh = [line for line in found.open() if key(line) not in learned]
        house.write(path, "".join(fresh[:160]))
    return path if path.exists() else None


def text_file(out, kind):
    if kind == "dialogues":
        return dialogues(out)
    path = house.SHARED / "data/wiki.test.raw" if kind == "prose" else house.ROOT / "tests/quality/code.txt"
    return path if path.exists() else None


def measure(model, text, rows, ctx, modes):
    """One process; {mode: figures}."""
    return {r["mode"]: r for r in json.loads(house.output(
        [house.PROGRAM, "perplexity", "--model", model, "--file", text, "--ctx", ctx, "--chunks", rows,
         "--cache", ",".join(modes), "--threads", house.THREADS, "--json"]))["results"]}


def cell_of(out, part, name, kind, mode):
    return out / part / name / f"{kind}.{mode}.json"


def parts_of(out, part, names, only):
    """(model's name, kind, text, rows, ctx, modes that lack a figure) of all that is to be measured."""
    kind, rows, ctx, modes = TEXTS[part]
    for name in names:
        for k in [kind] if kind else ["dialogues", "code"]:
            wanted = [m for m in only or modes if not cell_of(out, part, name, k, m).exists()]
            if wanted:
                yield name, k, text_file(out, k), rows, ctx or house.MODELS[name][1], wanted


def group_work(out, part, wanted):
    """Functions that measure a few modes each and write their cells."""
    name, kind, text, rows, ctx, modes = wanted

    def one(some):
        found = measure(house.model_file(name), text, rows, ctx, some)
        for mode in some:
            figures = dict(found[mode], model=house.MODELS[name][0], text=kind, rows=rows, ctx=ctx)
            house.write(cell_of(out, part, name, kind, mode), json.dumps(figures) + "\n")
            house.say(f"{part} {name} {kind} {mode}: KL {figures['kl']:.3g}")
    size = house.CELLS["MODES"]
    return [lambda some=modes[i:i + size]: one(some) for i in range(0, len(modes), size)]


def make_plan(name):
    """A plan that is missing is made before processes side by side would each make it."""
    readme = house.ROOT / "README.md"
    measure(house.model_file(name), readme, 1, 256, ["klt12"])


def run(out, part, names, only=()):
    work = []
    for wanted in parts_of(out, part, names, only):
        name, kind, text = wanted[:3]
        if not house.model_file(name):
            house.say(f"skipped: {part} of {name}: {house.MODELS[name][0]} is not here; MODELS=FOLDER has it")
        elif not text:
            house.say(f"skipped: {part} of {name}: no text of {kind} is here; XQUANTD_SHARED=FOLDER has data/")
        else:
            if any(m.startswith("klt") for m in wanted[5]):
                make_plan(name)
            work += group_work(out, part, wanted)
    return house.side_by_side(work)
