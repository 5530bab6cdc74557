"""generation.py - exact match of greedy answers in each cache mode, through the server as users reach it.

  server  --cache MODE, loopback;  /v1/completions, temperature 0, the answer's first line

Items of a group are asked one after the other, so that all but the first find their prefix in the
cache; several groups at once, so that the server has a batch. An answer does not depend on who else is
served. Each answer is a line of the cell, and a run that was broken off asks for those that lack."""
import http.client
import json
import os
import re
import time

import house
import items

ITEMS = int(os.environ.get("ITEMS", 200))
MODES = ["kv16", "klt12", "klt20"]
MOST = 24  # tokens of an answer
GROUPS = 8  # that ask at once

# Shots and sizes were chosen on 20 to 40 items for kv16 to be right in 30 to 90 of 100; nothing else was.
SHAPES = {
    "smollm2": {"keys": {"lines": 340, "codes": 4, "digits": 5, "shots": 0},
                "sums": {"digits": [2, 1], "lines": 14, "shots": 3},
                "changes": {"people": 24, "asked": 5, "shots": 2}},
    "qwen": {"keys": {"lines": 360, "codes": 20, "digits": 5, "shots": 0},
             "sums": {"digits": [3, 3], "lines": 14, "shots": 1},
             "changes": {"people": 16, "asked": 5, "shots": 2}},
}


class Server:
    """The program serving one mode, until it is closed."""

    def __init__(self, model, mode, log):
        self.log = log.open("w")
        self.process = house.start(
            [house.PROGRAM, "serve", "--model", model, "--cache", mode, "--cache-size", "1GiB", "--listen",
             "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json", "--threads", house.THREADS], stdout=self.log, stderr=self.log, env=house.environment())
        self.port = None
        self.wait(log)

    def is_ready(self, log):
        """Its port is in its log, for it chose that itself; it listens before the model is loaded."""
        found = re.search(r'"msg":"listening","listener":"api".*"port":(\d+)', log.read_text())
        self.port = found and int(found.group(1))
        return bool(found) and fetch(self.port, "GET", "/health")[0] == 200

    def wait(self, log):
        """A plan may have to be made before, which takes minutes."""
        for _ in range(36000):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text()[-500:]}")
            if self.is_ready(log):
                return
            time.sleep(.1)
        self.close()
        raise RuntimeError("the server does not load its model")

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        house.STARTED.discard(self.process)
        self.log.close()


def fetch(port, method, path, body=None):
    """Status and bytes of an answer of the server."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    line.request(method, path, body, {"content-type": "application/json"} if body else {})
    answer = line.getresponse()
    told = answer.read()
    line.close()
    return answer.status, told


def ask(port, prompt):
    """The text that the server answers, greedily, up to the end of the line."""
    status, told = fetch(port, "POST", "/v1/completions", json.dumps(
        {"prompt": prompt, "temperature": 0, "max_tokens": MOST, "stop": ["\n"]}))
    if status != 200:
        raise RuntimeError(f"{status}: {told[:200]}")
    return json.loads(told)["choices"][0]["text"]


def read_answers(path):
    """{id: answer} of a cell; a last line that was cut off is as good as none."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            one = json.loads(line)
            found[one["id"]] = one
        except ValueError:
            pass
    return found


def record(item, answer):
    return json.dumps({"id": item["id"], "expects": item["expects"], "answer": answer,
                       "right": items.is_right(item, answer)}) + "\n"


def answer_all(wanted, port, path):
    """Ask for the items and add their lines to the cell."""
    groups = {}
    for item in wanted:
        groups.setdefault(item["group"], []).append(item)
    with path.open("a") as cell:
        cell.seek(0, 2)
        if cell.tell():
            cell.write("\n")  # behind a line that was cut off

        def one(group):
            for item in group:
                cell.write(record(item, ask(port, item["prefix"] + item["question"])))
                cell.flush()
        return house.side_by_side([lambda g=g: one(g) for g in groups.values()], GROUPS)


def missing(path, task, shape):
    there = read_answers(path)
    return [i for i in items.make(task, shape, ITEMS) if i["id"] not in there]


def tell(name, task, mode, path):
    there = read_answers(path).values()
    house.say(f"generation {name} {task} {mode}: {sum(a['right'] for a in there)} of {len(there)} right")


def run_mode(out, name, mode, tasks):
    """All tasks of a mode that lack answers, by one server."""
    cells = {t: out / "generation" / name / f"{t}.{mode}.jsonl" for t in tasks}
    wanted = {t: missing(cells[t], t, SHAPES[name][t]) for t in tasks}
    if not any(wanted.values()):
        return
    cells[tasks[0]].parent.mkdir(parents=True, exist_ok=True)
    server = Server(house.model_file(name), mode, out / "generation" / name / f"{mode}.log")
    try:
        good = [answer_all(wanted[t], server.port, cells[t]) for t in tasks if wanted[t]]
    finally:
        server.close()
    for t in tasks:
        tell(name, t, mode, cells[t])
    if not all(good):
        raise RuntimeError(f"generation {name} {mode}: not all items have an answer")


def run(out, names, only=()):
    work = []
    for name in names:
        if name not in SHAPES:
            house.say(f"skipped: generation of {name}: no shots and sizes are chosen for it")
        elif not house.model_file(name):
            house.say(f"skipped: generation of {name}: {house.MODELS[name][0]} is not here; MODELS=FOLDER has it")
        else:
            work += [lambda n=name, m=m: run_mode(out, n, m, list(SHAPES[n])) for m in only or MODES]
    return house.side_by_side(work)
