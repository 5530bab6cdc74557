"""rules.py - tokenizer.json for vocabularies that come without one.

A model file has tokens and merges, a sentencepiece model pieces and scores, Mistral's ranks bytes;
how each family cuts text and what it does to it first is what its own tokenizer.json says.
"""

import base64
import io
import os
import struct

MARK = "\u2581"
NFC = {"type": "NFC"}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT_2 = dict(BYTES, use_regex=True)
DIGITS = {"type": "Digits", "individual_digits": True}
TO_MARKS = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
CASED = ("A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-"
         "\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-"
         "\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf"
         "\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-"
         "\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
         "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115"
         "\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e"
         "\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-"
         "\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
         "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-"
         "\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def split(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


# How a family of byte pairs cuts text, and its normal form.
RULES = {
    "qwen35": (sequence(split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"), BYTES), NFC),
    "smollm": (sequence(DIGITS, GPT_2), None),
    "starcoder": (sequence(DIGITS, GPT_2), None),
    "refact": (sequence(DIGITS, GPT_2), None),
    "command-r": (sequence(DIGITS, GPT_2), NFC),
    "deepseek-llm": (sequence(split("[\r\n]"), split(rf"\s?[{CASED}]+"), split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
                              split(r"\s+$"), split(CJK), DIGITS, BYTES), None),
    "deepseek-coder": (sequence(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK), DIGITS, BYTES),
                       None),
}


# --- files ---

def read_gguf(path):
    """The keys of a model file."""
    with open(path, "rb") as f:
        f = io.BufferedReader(io.FileIO(f.fileno(), closefd=False), 1 << 20)

        def number(form):
            return struct.unpack("<" + form, f.read(struct.calcsize(form)))[0]

        def text():
            return f.read(number("Q")).decode("utf-8", "surrogateescape")

        numbers = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

        def value(kind):
            if kind in numbers:
                return number(numbers[kind])
            if kind == 8:
                return text()
            kind, count = number("I"), number("Q")
            if kind in numbers:
                form = f"<{count}{numbers[kind]}"
                return list(struct.unpack(form, f.read(struct.calcsize(form))))
            return [value(kind) for _ in range(count)]

        f.read(8)
        number("Q")
        keys = {}
        for _ in range(number("Q")):
            name = text()
            keys[name] = value(number("I"))
        return keys


def added(tokens, types, kinds):
    return [{"id": i, "content": tokens[i], "special": types[i] != 4, "normalized": False, "lstrip": False,
             "rstrip": False, "single_word": False} for i in range(len(tokens)) if types[i] in kinds and tokens[i]]


def document(model, normalizer, pre, tokens):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": None, "decoder": None, "model": model}


def merges_of(scores):
    """Pairs of pieces that are a piece, the best piece first."""
    merges = []
    order = {piece: i for i, piece in enumerate(scores)}
    for piece, score in scores.items():
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in order and piece[i:] in order]
        pairs.sort(key=lambda p: (order[p[0]], order[p[1]]))
        merges += [(left, right, score) for left, right in pairs]
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [[left, right] for left, right, _ in merges]


def sentencepiece_json(tokens, scores, types, pads, extra=()):
    vocab = {}
    for i, token in enumerate(tokens):
        vocab.setdefault(token, i)
    normal = {t: scores[i] for i, t in enumerate(tokens) if types[i] in (1, 5)}
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
             "vocab": vocab, "merges": merges_of(normal)}
    steps = ([{"type": "Prepend", "prepend": MARK}] if pads else []) + [TO_MARKS]
    return document(model, {"type": "Sequence", "normalizers": steps}, None,
                    added(tokens, types, (2, 3, 4)) + list(extra))


def from_gguf(keys, rule):
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    scores = keys.get("tokenizer.ggml.scores")
    if rule == "llama":
        j = sentencepiece_json(tokens, scores, types, True)
        for token in j["added_tokens"]:  # Phi-3's
            token["rstrip"] = types[token["id"]] in (3, 4) and token["content"] not in ("<unk>", "<s>", "<|endoftext|>")
        return j
    if rule == "bert":
        vocab = {}
        for i, token in enumerate(tokens):
            named = types[i] == 3 or (token.startswith("[") and token.endswith("]"))
            vocab[token if named else token[1:] if token.startswith(MARK) else "##" + token] = i
        model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                 "max_input_chars_per_word": 100, "vocab": vocab}
        normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                      "strip_accents": None, "lowercase": True}
        return document(model, normalizer, {"type": "BertPreTokenizer"}, added(tokens, types, (3,)))
    if rule == "t5":
        charsmap = bytes(b & 255 for b in keys["tokenizer.ggml.precompiled_charsmap"])
        j = unigram_json(tokens, scores, charsmap, keys["tokenizer.ggml.unknown_token_id"],
                         added(tokens, types, (3, 4)))
        return dict(j, sentencepiece=sentencepiece_model(tokens, scores, types, charsmap))
    merges = [[m[:1 + m[1:].index(" ")], m[2 + m[1:].index(" "):]] for m in keys["tokenizer.ggml.merges"]]
    vocab = {}
    for i, token in enumerate(tokens):
        vocab.setdefault(token, i)
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": vocab, "merges": merges}
    if rule == "gemma4":
        model.update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        return document(model, TO_MARKS, None, added(tokens, types, (3, 4)))
    pre, normalizer = RULES[rule]
    return document(model, normalizer, pre, added(tokens, types, (3, 4)))


# --- other makers' files ---

def from_sentencepiece(path):
    import sentencepiece

    s = sentencepiece.SentencePieceProcessor(model_file=path)
    n = s.get_piece_size()
    types = [2 if s.is_unknown(i) else 3 if s.is_control(i) else 6 if s.is_byte(i) else 1 for i in range(n)]
    return sentencepiece_json([s.id_to_piece(i) for i in range(n)], [s.get_score(i) for i in range(n)], types, True)


def alphabet():
    """Printable characters for bytes, as byte-level vocabularies write them."""
    plain = list(range(0x21, 0x7f)) + list(range(0xa1, 0xad)) + list(range(0xae, 0x100))
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


def from_tekken(j):
    letters = alphabet()
    specials = j["config"]["default_num_special_tokens"]
    count = j["config"]["default_vocab_size"] - specials
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in j["vocab"][:count]}

    def spell(data):
        return "".join(letters[b] for b in data)

    merges = []
    for data, rank in ranks.items():
        pairs = [(data[:i], data[i:]) for i in range(1, len(data)) if data[:i] in ranks and data[i:] in ranks]
        pairs.sort(key=lambda p: (ranks[p[0]], ranks[p[1]]))
        merges += [(rank, left, right) for left, right in pairs]
    merges.sort(key=lambda m: m[0])
    names = {t["rank"]: t["token_str"] for t in j.get("special_tokens") or []}
    if not names:
        names = dict(enumerate(("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]",
                                "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]")))
    tokens = [names.get(i, f"<SPECIAL_{i}>") for i in range(specials)]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
             "vocab": {t: i for i, t in enumerate(tokens)} | {spell(d): r + specials for d, r in ranks.items()},
             "merges": [[spell(left), spell(right)] for _, left, right in merges]}
    return document(model, None, sequence(split(j["config"]["pattern"]), BYTES),
                    added(tokens, [3] * specials, (3,)))


# --- unigram ---

def unigram_json(tokens, scores, charsmap, unknown, extra):
    rules = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    words = sequence({"type": "WhitespaceSplit"},
                     {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True})
    model = {"type": "Unigram", "unk_id": unknown, "vocab": [[t, s] for t, s in zip(tokens, scores)],
             "byte_fallback": False}
    return document(model, rules, words, extra)


def sentencepiece_model(tokens, scores, types, charsmap):
    """The same as a sentencepiece model, whose own library then is the reference."""
    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    def part(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    def flag(number, value):
        return varint(number << 3) + varint(value)

    kinds = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}
    unknown = types.index(2)
    pieces = b"".join(part(1, part(1, t.encode()) + b"\x15" + struct.pack("<f", s) + flag(3, kinds[k]))
                      for t, s, k in zip(tokens, scores, types))
    trainer = flag(3, 1) + flag(4, len(tokens)) + flag(40, unknown) + part(45, tokens[unknown].encode())
    rules = part(1, b"nmt_nfkc") + part(2, charsmap) + flag(3, 1) + flag(4, 1) + flag(5, 1)
    return pieces + part(2, trainer) + part(3, rules)


def field(data, wanted):
    """The bytes of a protobuf message's field."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            varint()
        elif tag & 7 == 2:
            n = varint()
            if tag >> 3 == wanted:
                return data[at:at + n]
            at += n
        else:
            at += 8 if tag & 7 == 1 else 4
    return b""


def trained(path):
    """A small vocabulary of T5's form, learned from a text of this repository."""
    import sentencepiece

    model = io.BytesIO()
    with open(os.path.join(os.path.dirname(__file__), "../..", path), encoding="utf-8") as f:
        lines = [line for line in f.read().split("\n") if line][:6000]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="unigram", vocab_size=3000, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", minloglevel=2, num_threads=1)
    proto = model.getvalue()
    s = sentencepiece.SentencePieceProcessor(model_proto=proto)
    n = s.get_piece_size()
    tokens = [s.id_to_piece(i) for i in range(n)]
    types = [2 if s.is_unknown(i) else 3 if s.is_control(i) else 1 for i in range(n)]
    j = unigram_json(tokens, [s.get_score(i) for i in range(n)], field(field(proto, 3), 2), 2,
                     added(tokens, types, (2, 3)))
    return dict(j, sentencepiece=proto)


def variant(j, rule):
    """A rule of today on words of yesterday."""
    if rule == "first":
        j["normalizer"] = None
        j["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": False}
    return j
