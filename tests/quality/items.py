"""items.py - questions whose answers are computed, for measuring what a cache does to an answer.

  item   prefix  | question            a prefix is shared by its group's items, so that a server
         expects                       computes it once, as with users who come back

  keys     sentences about places, a few of which have a code; what is the code of one of them?
  sums     who paid how much; what did two of them pay together?
  changes  40 moves of people between rooms; where is one of them now?

What an answer needs stands blocks before it: a query sees its own block of 128 tokens exactly
whatever the cache holds. All is drawn from SHA-256 of a name and a count, so that items are the
same wherever, and whenever, they are made."""
import hashlib

PEOPLE = ("Anna Boris Clara David Emma Felix Greta Henry Irene Jacob Karin Louis Maria Nils Olga Peter "
          "Quinn Rosa Simon Tina Ulrich Vera Walter Xenia Yann Zoe Adam Bella Carl Diana Erik Fiona "
          "George Helen Ivan Julia Kevin Laura Martin Nora").split()
ROOMS = "kitchen garden library cellar office garage attic hall".split()
COLOURS = ("amber black blue brown copper crimson golden gray green ivory orange pink purple red "
           "silver white yellow olive").split()
PLACES = ("bridge castle chapel factory farm harbor hotel lighthouse market mill museum palace "
          "prison school stable station temple theater tower village").split()
IDLE = ("The {} {} was closed for the winter.", "Few people remember the {} {} today.",
        "A road leads from the river to the {} {}.", "The {} {} was built by two brothers.",
        "In summer the {} {} has many visitors.", "The {} {} stands next to an old wall.")


class Draw:
    """Numbers that depend on a name and on how many were drawn before, and on nothing else."""

    def __init__(self, name):
        self.name, self.count = name, 0

    def below(self, n):
        self.count += 1
        digest = hashlib.sha256(f"{self.name}:{self.count}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % n

    def some(self, values, n):
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(n)]

    def number(self, digits):
        low = 10 ** (digits - 1)
        return low + self.below(9 * low)


def idle(draw, n):
    """n sentences, each about another place."""
    names = draw.some([(c, p) for c in COLOURS for p in PLACES], n)
    return names, [IDLE[draw.below(len(IDLE))].format(c, p) for c, p in names]


def group_of(lines, told, shape):
    """Items with one prefix: of what can be asked, the first `shots` stand answered in it."""
    prefix = "\n".join(lines) + "\n\n"
    for question, lead, answer in told[:shape["shots"]]:
        prefix += f"Question: {question}\nAnswer:{lead} {answer}\n\n"
    return [{"prefix": prefix, "question": f"Question: {question}\nAnswer:{lead}", "expects": answer}
            for question, lead, answer in told[shape["shots"]:]]


def keys(draw, shape):
    """lines of text, codes among them, digits of a code."""
    names, lines = idle(draw, shape["lines"])
    told = []
    for i in draw.some(range(len(names)), shape["codes"]):
        name, code = " ".join(names[i]), draw.number(shape["digits"])
        lines[i] = f"The code of the {name} is {code}."
        told.append((f"What is the code of the {name}?", f" The code of the {name} is", f"{code}."))
    return group_of(lines, told, shape)


def sums(draw, shape):
    """digits of both amounts, lines between telling and asking, shots: whole stories."""
    prefix, people = "", draw.some(PEOPLE, 2 * (shape["shots"] + 1))
    for story in range(shape["shots"] + 1):
        a, b = people[2 * story:2 * story + 2]
        x, y = (draw.number(digits) for digits in shape["digits"])
        _, lines = idle(draw, shape["lines"])
        prefix += "\n".join([f"{a} paid {x} coins and {b} paid {y} coins."] + lines) + "\n\n"
        question = f"Question: How much did {a} and {b} pay together?\nAnswer: Together they paid"
        answer = f"{x} + {y} = {x + y}"
        if story < shape["shots"]:
            prefix += f"{question} {answer}\n\n"
    return [{"prefix": prefix, "question": question, "expects": answer}]


def changes(draw, shape):
    """people who may be asked for, asked: how many are. In the last 16 moves, 110 tokens or so, only
    four others move."""
    people = draw.some(PEOPLE, shape["people"] + 4)
    asked, others, where, lines = people[:-4], people[-4:], {}, []
    for i in range(40):
        who = asked[i] if i < len(asked) else draw.some(others if i >= 24 else people, 1)[0]
        where[who] = draw.some([r for r in ROOMS if r != where.get(who)], 1)[0]
        lines.append(f"{who} goes to the {where[who]}.")
    told = [(f"Where is {who} now?", f" {who} goes to the", f"{where[who]}.")
            for who in draw.some(asked, shape["asked"] + shape["shots"])]
    return group_of(lines, told, shape)


TASKS = {"keys": keys, "sums": sums, "changes": changes}


def make(task, shape, n):
    """The first n items of a task; an item's group is what shares its prefix."""
    out, group = [], 0
    while len(out) < n:
        for item in TASKS[task](Draw(f"{task}-{group}"), shape):
            out.append(dict(item, task=task, group=group, id=len(out)))
        group += 1
    return out[:n]


def is_right(item, answer):
    """Exact match of the answer's first line, less the spaces around it."""
    return answer.split("\n", 1)[0].strip() == item["expects"]
