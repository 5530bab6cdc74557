# check.py - chat templates as the interpreter runs them and as jinja2 does, byte for byte.
#
#   python3 check.py RENDER [FOLDER|FILE.json...]
#
# RENDER is build/tests/tools/render_template. Compared are the families here (each as its makers
# write a conversation, in our words), the snippets, and templates of others: a folder of .jinja
# files, or a JSON list of [name, template]. Each with every conversation: the same text, or
# refused by both, a template's own refusal in its own words.
import glob
import json
import os
import subprocess
import sys

from conversations import conversations
from reference import render

HERE = os.path.dirname(os.path.abspath(__file__))
SNIPPET_VALUES = {
    "d": {"a": 1, "b": "two", "list": [10, 20, 30], "nested": {"deep": {"er": "abc"}}},
    "messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "hello"}],
}
SAID = 250  # bytes of a refusal that are kept whole


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return f.read()


def folder(path):
    return [(os.path.basename(p), read(p)) for p in sorted(glob.glob(f"{path}/**/*.jinja", recursive=True))]


def snippets():
    lines = read(f"{HERE}/snippets.txt").split("\n")[1:]
    for line in filter(None, lines):
        # In texts in quotes the backslash is the template's own.
        quoted = "'" in line or '"' in line
        yield line, line if quoted else line.replace("\\r", "\r").replace("\\n", "\n")


def same(want, got):
    if "text" in want or "text" in got:
        return want.get("text") == got.get("text")
    if "raised" in want:
        return got["raised"] and want["raised"].encode()[:SAID] == got["error"].encode()[:SAID]
    return not got["raised"] and got["error"] != ""


class Renderer:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, source, all_variables):
        line = json.dumps({"template": source, "given": all_variables}) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def show(name, number, want, got):
    print(f"not ok: {name}, conversation {number}")
    a, b = want.get("text", ""), got.get("text", "")
    at = len(os.path.commonprefix([a, b]))
    if "text" in want and "text" in got:
        want, got = repr(a[max(0, at - 60):at + 80]), repr(b[max(0, at - 60):at + 80])
    print(f"  jinja2  {want}\n  ours    {got}")


def compare(renderer, templates, all_variables):
    """How many templates agree everywhere, and how many do not; texts and refusals of both."""
    good, bad, texts, refusals = 0, 0, 0, 0
    for name, source in templates:
        wanted = render(source, all_variables)
        got = renderer.render(source, all_variables)
        wrong = [i for i, w in enumerate(wanted) if not same(w, got[i])]
        texts += sum("text" in w for w in wanted)
        refusals += sum("text" not in w for w in wanted)
        for i in wrong[:1]:
            show(name, i, wanted[i], got[i])
        good, bad = good + (not wrong), bad + bool(wrong)
    return good, bad, texts, refusals


def main(program, others):
    renderer = Renderer(program)
    runs = [("families", folder(f"{HERE}/families"), conversations()),
            ("snippets", list(snippets()), [SNIPPET_VALUES])]
    for path in others:
        templates = json.loads(read(path)) if path.endswith(".json") else folder(path)
        runs.append((path, templates, conversations()))
    good = bad = 0
    for name, templates, all_variables in runs:
        g, b, texts, refusals = compare(renderer, templates, all_variables)
        print(f"{name}: {g} of {g + b} templates agree; {texts} texts, {refusals} refusals")
        good, bad = good + g, bad + b
    print(f"{good} passed, {bad} failed, 0 skipped")
    return bad != 0 or good == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
