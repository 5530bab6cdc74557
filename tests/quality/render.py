"""render.py - the tables of docs/quality.md from measured cells, each between its marks.

  <!-- measured: NAME -->  table  <!-- /measured -->

What is not measured is a dash; a table none of whose cells is there stays as it is."""
import re

import divergence
import generation
import house

RATIO_OF_PEERS = {"peer-q8_0": "llama.cpp `q8_0`", "peer-q8_0-plain": "`q8_0`, heads not turned",
                  "peer-q4_0": "llama.cpp `q4_0`", "peer-q4_0-plain": "`q4_0`, heads not turned"}
SHORT = {name: label.split(",")[0].replace("-Instruct", "") for name, (_, _, label) in house.MODELS.items()}
TASKS = {"keys": "a key in 4k", "sums": "a sum", "changes": "40 changes"}


def kl(x):
    """Four digits behind the point, or two that count where these are nothing."""
    return f"{x:.5f}" if x >= .00095 else f"{x:.2g}" if x < 1e-5 else f"{x:.6f}"


def word(mode):
    return RATIO_OF_PEERS.get(mode, f"`{mode}`")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def cells(out, part, kind, names, modes):
    """{(name, mode): figures} of what is there."""
    found = {(n, m): house.read(divergence.cell_of(out, part, n, kind, m)) for n in names for m in modes}
    return {at: figures for at, figures in found.items() if figures}


def kl_table(out, name):
    """One model: every mode and the peer's types on the same rows."""
    modes = house.MODES + list(house.PEERS)
    found = cells(out, "kl", "prose", [name], modes)
    rows = [[word(m), f"{f['ratio']:.2f}", kl(f["kl"]), kl(f["kl_p99"]), f"{f['kl_max']:.2g}", f"{f['top1']:.4f}"]
            for m in modes for f in [found.get((name, m))] if f]
    return rows and table(["mode", "against fp16", "KL", "p99", "max", "top-1"], rows)


def summary_table(out):
    """KL of every mode on every model."""
    modes, names = house.MODES + list(house.PEERS), list(house.MODELS)
    found = cells(out, "kl", "prose", names, modes)
    rows = [[word(m)] + [f"{kl(f['kl'])} at {f['ratio']:.2f}" if (f := found.get((n, m))) else "-" for n in names]
            for m in modes if any((n, m) in found for n in names)]
    return rows and table(["mode"] + [SHORT[n] for n in names], rows)


def domains_table(out):
    modes, names = house.FEW + ["peer-q4_0"], list(house.MODELS)
    kinds = {k: cells(out, "domains", k, names, modes) for k in ("dialogues", "code")}
    rows = [[word(m)] + [" · ".join(kl(f["kl"]) if (f := kinds[k].get((n, m))) else "-" for k in kinds) for n in names]
            for m in modes if any((n, m) in kinds[k] for k in kinds for n in names)]
    return rows and table(["dialogues · code"] + [SHORT[n] for n in names], rows)


def depth_table(out):
    """A row a model and mode; a column a depth."""
    names, modes = list(house.MODELS), divergence.TEXTS["depth"][3] + ["peer-q4_0"]
    found = cells(out, "depth", "prose", names, modes)
    borders = ["0-512", "512-1k", "1k-2k", "2k-4k", "4k-8k"]
    rows = [[SHORT[n], word(m)] + [kl(x) for x in f["kl_at"]] + ["-"] * (len(borders) - len(f["kl_at"]))
            for n in names for m in modes for f in [found.get((n, m))] if f]
    return rows and table(["model", "mode"] + borders, rows)


def score(out, name, task, mode):
    """"right of all", and how often it is right where kv16 is wrong, and wrong where it is right."""
    there = generation.read_answers(out / "generation" / name / f"{task}.{mode}.jsonl")
    exact = generation.read_answers(out / "generation" / name / f"{task}.kv16.jsonl")
    if not there:
        return "-"
    both = [(there[i]["right"], exact[i]["right"]) for i in there if i in exact]
    told = f"{100 * sum(a['right'] for a in there.values()) / len(there):.1f} %"
    if len(there) < generation.ITEMS:
        told += f" of {len(there)}"
    if mode == "kv16" or not both:
        return told
    return f"{told} (+{sum(a and not b for a, b in both)} -{sum(b and not a for a, b in both)})"


def generation_table(out):
    modes = generation.MODES + ["kivi4", "xq4", "cl3", "peer-q4_0", "peer-q4_0-plain"]
    rows = [[SHORT[n], TASKS[t]] + [score(out, n, t, m) for m in modes]
            for n, shapes in generation.SHAPES.items() for t in shapes]
    used = [i for i, m in enumerate(modes) if any(row[2 + i] != "-" for row in rows)]
    rows = [row[:2] + [row[2 + i] for i in used] for row in rows if any(c != "-" for c in row[2:])]
    return rows and table(["model", "task"] + [word(modes[i]) for i in used], rows)


def tables(out):
    made = {"summary": summary_table(out), "domains": domains_table(out), "depth": depth_table(out),
            "generation": generation_table(out)}
    made.update({f"kl {name}": kl_table(out, name) for name in house.MODELS})
    return {name: text for name, text in made.items() if text}


def run(out, page):
    """Put the tables into a page of Markdown; KeyError: it has no place for one."""
    text = page.read_text()
    for name, made in tables(out).items():
        text, n = re.subn(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- /measured -->)",
                          lambda m, t=made: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.S)
        if n != 1:
            raise KeyError(f"{page}: {n} places for the table {name}")
    house.write(page, text)
    return True
