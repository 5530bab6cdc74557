// load.mjs - the users of the `returning` benchmark: who they are, what they say, who comes next.
//
// All of it is drawn from one seed. A user's history is dialogues joined until it has a number of
// tokens, drawn uniformly from SHORTEST to LONGEST; what the user says next are the user messages
// that follow in the same dialogue, then those of others.

export const SHORTEST = 900, LONGEST = 1900;

// Numbers in [0, 1): mulberry32.
export function random(seed) {
    let a = seed >>> 0;

    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), 1 | a);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

function shuffle(list, draw) {
    for (let i = list.length - 1; i > 0; i--) {
        const j = Math.floor(draw() * (i + 1));
        [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
}

// dialogues: [{ messages, tokens }]. One object a server: it is used up.
export class Load {
    constructor(dialogues, { users, seed, zipf }) {
        const draw = random(seed);

        this.dialogues = shuffle([...dialogues], draw);
        this.cursor = 0;
        this.users = Array.from({ length: users }, (_, i) => ({
            number: i, draw: random(seed * 100003 + i), takes: () => this.take(),
        }));
        this.order = shuffle([...this.users], draw); // of first visits
        for (const user of this.order) this.renew(user);
        for (const user of this.users) user.takes = () => this.any(user);
        this.draw = draw;
        this.weights = this.users.map((_, i) => (i + 1) ** -zipf);
        this.total = this.weights.reduce((a, b) => a + b, 0);
    }

    take() {
        return this.dialogues[this.cursor++ % this.dialogues.length];
    }

    any(user) {
        return this.dialogues[Math.floor(user.draw() * this.dialogues.length)];
    }

    // A history of its own length, and what the user says next.
    renew(user) {
        const wanted = SHORTEST + user.draw() * (LONGEST - SHORTEST);
        let tokens = 0;

        user.messages = [];
        user.ahead = [];
        user.fresh = true;
        while (tokens < wanted) {
            user.ahead = [...user.takes().messages];
            while (user.ahead.length && tokens < wanted) {
                const message = user.ahead.shift();
                tokens += message.tokens;
                user.messages.push({ role: message.role, content: message.content });
            }
        }
    }

    // The user says the next thing.
    speak(user) {
        let message;

        if (user.messages.at(-1)?.role === "user") return;
        do {
            if (!user.ahead.length) user.ahead = [...user.takes().messages];
            message = user.ahead.shift();
        } while (message.role !== "user");
        user.messages.push({ role: "user", content: message.content });
    }

    // Who returns: by Zipf's law.
    next() {
        let at = this.draw() * this.total;

        for (const [i, weight] of this.weights.entries()) {
            at -= weight;
            if (at < 0) return this.users[i];
        }
        return this.users.at(-1);
    }
}
