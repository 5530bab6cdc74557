"""strings.py - texts that vocabularies disagree on.

Made, not collected: each kind of trouble a loop over its parts, and what is random drawn from a
seed. `strings(controls)` gives the same list on every machine, but for the control tokens of a
vocabulary, which are written into text where a person might.
"""

import random
import unicodedata

WORDS = ("the quick Brown fox JUMPS over lazy dogs don't can't we'll THEY'RE I'd He's ain't "
         "naïve café résumé Zürich Ångström São façade coöperate Straße İstanbul Dvořák "
         "Владимир Ελλάδα עברית العربية हिन्दी বাংলা ไทย 한국어 日本語 中文 ქართული ភាសាខ្មែរ "
         "tiếng Việt ʻŌlelo æther ŒUVRE ß ſ ǅ ﬁnance ﬄ").split()
SPACES = (" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", " \n",
          "\n ", "\t ", " \t", "\u00a0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u3000",
          "\u200b", "\u180e", "\ufeff", "\u0085", "\u000b", "\u000c", "\u001f")
MARKS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327\u0328\u0338\u0345"
EMOJI = ("😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇺🇳🇺🇸", "1️⃣", "❤️", "☺", "🫠", "🧑🏿‍🚀", "✌🏻", "#️⃣", "🀄", "🏴󠁧󠁢󠁳󠁣󠁴󠁿")
PUNCTUATION = ("!", "...", "…", "?!", "--", "——", "«»", "“”", "‘’", "''", "\"\"", "``", "()", "[]", "{}",
               "<>", "</s>", "<s>", "<|", "|>", "$", "€", "£", "%", "#", "##", "@", "&", "*", "**", "+",
               "=", "==", "!=", "=>", "->", "/", "//", "\\", "|", "||", "~", "^", "_", "__", ":", "::",
               ";", "。", "、", "，", "！", "？", "「」", "（）", "·", "•", "†", "§", "¶", "°", "™", "№", "½", "²", "×",
               "÷", "−", "≠", "∞", "∑", "→", "⇒", "■", "▁", "▁▁", "▁▁▁")
CODE = (
    "def f(x):\n    return x ** 2\n", "for (int i = 0; i < n; i++) {\n\ta[i] += 1;\n}\n",
    "if (x) {\r\n  y();\r\n}\r\n", "SELECT * FROM t WHERE a='b';", "<html><body class=\"x\">Hi</body></html>",
    "{\"a\": [1, 2.5, null], \"b\": {}}", "https://example.org/a_b?c=d&e=%20#f", "C:\\Windows\\System32\\cmd.exe",
    "#!/bin/sh\nset -e\necho \"$HOME\"\n", "x=x+1;y=y-1;", "a->b.c::d", "\\frac{1}{2}\\sum_{i=0}^{n}", "0x7fff_ffff",
    "git commit -m 'fix: x'", "/* comment */ // more", "user@example.com", "snake_case camelCase PascalCase kebab-case",
    "`code` **bold** _it_ ~~no~~", "| a | b |\n|---|---|\n| 1 | 2 |", "- [ ] todo\n- [x] done", "\t\tindented\n\t\t\tmore",
    "        eight\n            twelve\n                sixteen", "fn main() { println!(\"{}\", 1); }", "λ x. x → y", "¬p ∧ q ∨ r",
)
NUMBERS = ("0", "7", "42", "123", "1234", "12345", "123456", "1234567", "3.14159", "1,234,567.89", "1e10", "-1",
           "007", "2024-02-29", "12:34:56", "99%", "½", "Ⅷ", "٣٤٥", "१२३", "１２３", "𝟙𝟚𝟛", "²³", "①②", "1st 2nd",
           "10000000000000000000000", "3a4b5", "v1.2.3", "+49 30 123456", "$1,000.00")


def spaced():
    for space in SPACES:
        yield space
        yield space + "a"
        yield "a" + space
        yield "a" + space + "b"
        yield "a" + space + " b"
        yield "a " + space + "b"
        yield "x." + space + "Y" + space * 2 + "z" + space * 5 + "!"
        yield space * 3 + "1" + space * 7
    for n in list(range(1, 40)) + [63, 64, 65, 127, 128, 129]:
        yield " " * n
        yield "a" + " " * n + "b"
        yield "\n" * n + "x"
        yield "\t" * n + "x" + "\n" * (n % 5)


def accented():
    for base in "aAeEiIoOuUnNcCsSyYzZ":
        for i, mark in enumerate(MARKS):
            yield base + mark
            if i % 4 == 0:
                yield "x" + base + mark + MARKS[(i + 5) % len(MARKS)] + "y " + base
    for word in WORDS:
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            yield unicodedata.normalize(form, word)
            yield "A " + unicodedata.normalize(form, word.upper()) + " b"
    yield from ("\u0301", " \u0301", "\u0301\u0301a", "\u0344", "\u1100\u1161\u11a8", "\uac01", "가각",
                "\u1100\u1161", "\u212b", "\u2126", "\u0958", "\u0915\u093c", "\ufb1d", "\u05d9\u05b4", "\u2adc",
                "q\u0323\u0307", "q\u0307\u0323", "\u1e9b\u0323", "s\u0323\u0307", "\ufdfa", "\u3300", "\uff76\uff9e",
                "\u0e33", "\u0eb3", "\u0f77", "\u1f71", "\u2000", "\u0340", "\u0374", "\u037e", "\u0387", "\u1fbe",
                "が", "か\u3099", "ハ\u309a", "i\u0307", "İ", "ı", "K", "ŉ", "ǰ", "ΐ", "ﬃ", "㎏", "ﾊﾟ", "Å", "µ", "℃")


def pieces():
    yield from NUMBERS
    yield from CODE
    yield from EMOJI
    yield from PUNCTUATION
    for p in PUNCTUATION:
        yield "a" + p + "b"
        yield " " + p + " "
        yield "word" + p + " word" + p + "\n"
        yield p * 3
    for e in EMOJI:
        yield e * 2
        yield "hi " + e + "!"
        yield "a" + e + "1"
    for n in NUMBERS:
        yield " " + n
        yield "n=" + n + ","
        yield n + n
        yield n + "中" + n + "é"
    for w in WORDS:
        yield w
        yield " " + w
        yield w + "'s"
        yield w + "\u2019s " + w.lower() + w.upper()
        yield w.capitalize() + w + "123"
        yield "«" + w + "», " + w + "…"
    for s in ("'s", "'S", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'m", "'M", "'ll", "'LL", "'d", "'D", "'x", "'ſ"):
        yield "I" + s
        yield "x" + s + "y"
        yield " " + s
        yield "1" + s + " " + s + s
    for c in list(range(0x01, 0x20)) + list(range(0x7f, 0xa1)) + [0xad, 0x200c, 0x200d, 0x200e, 0x200f, 0x202a,
             0x202e, 0x2060, 0x2066, 0x2069, 0xfff9, 0xfffc, 0xfffd, 0xfe0f, 0xe000, 0xf8ff, 0xe0001, 0xe0041, 0x10ffff]:
        yield chr(c)
        yield "a" + chr(c) + "b " + chr(c) * 2
    for t in ("שלום עולם", "مرحبا بالعالم", "שָׁלוֹם", "مُحَمَّد", "سلام 123 abc", "\u202bאבג\u202c x", "हिंदी में लिखा", "ไม่มีช่องว่าง",
              "我想在apple工作1314151天～", "東京都はTokyoです。", "한국어 띄어쓰기 테스트", "你好，世界！", "ひらがなカタカナ漢字ｶﾅ", "𠮷野家", "㐀㐁",
              "龥龦鿿", "Привет, мир!", "Γειά σου Κόσμε ΟΔΟΣ", "ጤና ይስጥልኝ", "བོད་སྐད", "მსოფლიო", "Ελληνικά άέή", "ᏣᎳᎩ", "𐍈𐌰", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢"):
        yield t
        yield " " + t + " "
        yield "x" + t + "1"
        yield t + "\n\n" + t


def written(controls):
    for c in controls:
        yield c
        yield "a" + c
        yield c + " a"
        yield "a " + c + " b" + c + c
        yield c[:-1]
        yield c[1:] + "\n" + c + "\n"


def drawn(count):
    r = random.Random(20)
    parts = list(WORDS) + list(SPACES) + list(EMOJI) + list(PUNCTUATION) + list(NUMBERS)
    blocks = ((0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff),
              (0xe00, 0xeff), (0x1000, 0x11ff), (0x1e00, 0x1fff), (0x2000, 0x27bf), (0x3000, 0x30ff), (0x4e00, 0x9fff),
              (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfe00, 0xffef), (0x10000, 0x1047f), (0x1d400, 0x1d7ff),
              (0x1f300, 0x1f6ff), (0x20000, 0x2a6df), (0xe000, 0xf8ff))

    def point():
        while True:
            low, high = r.choice(blocks) if r.random() < .8 else (0x20, 0x10ffff)
            c = r.randint(low, high)
            # Points that later Unicode than 12 has given a meaning: libraries differ by their age.
            if not 0xd800 <= c <= 0xdfff and (unicodedata.ucd_3_2_0.category(chr(c)) != "Cn" or c > 0xeffff):
                return chr(c)

    for i in range(count):
        if i % 3 == 0:
            yield "".join(r.choice(parts) for _ in range(r.randint(2, 9)))
        elif i % 3 == 1:
            yield "".join(point() for _ in range(r.randint(1, 24)))
        else:
            yield "".join(r.choice((point, lambda: r.choice(parts), lambda: " "))() for _ in range(r.randint(2, 20)))


def strings(controls=(), drawings=600):
    """Each text once, none empty, none with a NUL."""
    seen = {}
    for source in (spaced(), accented(), pieces(), written(controls), drawn(drawings)):
        for s in source:
            if s and "\0" not in s:
                seen.setdefault(s, None)
    return list(seen)


if __name__ == "__main__":
    print(len(strings()))
