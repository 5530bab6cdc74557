// canaries.mjs - tenants with secrets on one small pool: does anything of one reach another?
//
// They come a few at a time, as tenants do, and do one thing after the other: whole answers and
// streams, several at once, prompts that are only cached, dialogues in sessions that are pinned,
// forked and deleted; and they leave in mid-stream. The pool has room for a few dozen blocks, so
// blocks are evicted, or degraded, and taken anew all the time. Looked at are
//
//   answers ..... text, ids and logprobs are those of a server with nothing else to do: rows are
//                 computed alike in any company, and one block of somebody else's changes them.
//                 Degraded blocks change them too, a little (isNear)
//   secrets ..... no answer has another tenant's
//   hits ........ a prompt finds blocks that its own scope has sent before, and no others: a hit
//                 tells that somebody sent that text
//   sessions .... nobody else's are listed
import assert from "node:assert/strict";
import http from "node:http";

import { ask, events, metrics, newFile, series, startDaemon } from "../daemon.mjs";
import { always, ANSWER, BLOCK, COPIES, drawn, greedy, join, keyOf, makeTenant, prefixes, promptIds, read,
    secretOf } from "./questions.mjs";

const ACTIVE = 8; // tenants who come at the same time, so that they find some of their blocks
const STAY = 60; // requests until the first of them leaves
const ENDLESS = 150; // tokens of an answer whose end nobody waits for
const NEAR = 0.5; // nat: see isNear

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const auth = (tenant) => ({ authorization: `Bearer ${keyOf(tenant)}` });

// --- one run ---

class Run {
    constructor(daemon, tenants, { degraded = false }) {
        Object.assign(this, { daemon, tenants, degraded });
        this.sent = new Map(); // scope and prefix: how often it was sent
        this.busy = new Set(); // dialogues under way
        this.counts = {};
        this.faults = [];
        this.requests = this.hits = this.told = this.equal = this.near = 0;
    }

    fault(what, tenant, details) {
        this.faults.push(`tenant ${tenant}: ${what}: ${JSON.stringify(details).slice(0, 600)}`);
    }

    // --- what is looked at ---

    note(scope, list) {
        for (const prefix of list) {
            const key = `${scope} ${prefix}`;

            this.sent.set(key, (this.sent.get(key) ?? 0) + 1);
        }
    }

    // Its own prompt is noted already, so a hit needs another time.
    checkHit(tenant, scope, right, cached) {
        this.hits += cached > 0;
        if (!cached) return;
        const key = `${scope} ${right.prefixes[cached / BLOCK - 1]}`;
        if (!((this.sent.get(key) ?? 0) >= 2)) this.fault("a hit in what it never sent", tenant, { cached });
    }

    checkSecrets(tenant, got) {
        this.told += got.text.includes(secretOf(tenant));
        for (const other of this.tenants)
            if (other.tenant !== tenant && got.text.includes(secretOf(other.tenant)))
                this.fault(`the secret of tenant ${other.tenant}`, tenant, got.text);
    }

    // What there is of it; `cached` of a stream that was left is not known.
    checkAnswer(tenant, got, right, cached) {
        const n = Math.min(got.ids.length, right.ids.length);
        const cut = (x) => [x.ids.slice(0, n), x.logprobs.slice(0, n)].join();

        this.checkSecrets(tenant, got);
        if (cut(got) === cut(right)) {
            this.equal++;
            if (n === ANSWER && got.ids.length === n && got.text !== right.text)
                this.fault("another text", tenant, { got: got.text, right: right.text });
        } else if (this.degraded && cached !== 0 && isNear(got, right, n)) {
            this.near++;
        } else {
            this.fault("another answer", tenant, { cached, got: [got.text, got.logprobs],
                right: [right.text, right.logprobs] });
        }
    }

    // --- what they do ---

    async post(tenant, { path, body }, more) {
        this.requests++;
        return ask(this.daemon, "POST", path, { ...always, ...body, ...more }, auth(tenant));
    }

    // All of an answer that is not streamed, against what is right for each choice. `rights`: all
    // that may be, by the prompt's ids.
    async whole(tenant, asked, rights, more) {
        const scope = `${tenant} ${more.cache_salt ?? ""}`;

        for (const right of rights) this.note(scope, right.sealed);
        const { status, json, text } = await this.post(tenant, asked, more);
        if (status !== 200) return this.fault("no answer", tenant, { status, text });
        const ids = promptIds(json), right = rights.find((r) => r.prompt === ids.join());
        if (!right) return this.fault("another prompt", tenant, ids);
        const cached = json.usage.prompt_tokens_details.cached_tokens;
        this.checkHit(tenant, scope, right, cached);
        if (more.max_tokens === 0) return;
        json.choices.forEach((choice, i) =>
            this.checkAnswer(tenant, read(choice), more.n ? rights[i] : right, cached));
    }

    // A stream, read to its end, or left after some events or some ms.
    async streamed(tenant, { asked, right }, { events: most = Infinity, ms = 60000 } = {}) {
        const scope = `${tenant} `;
        const left = most < Infinity || ms < 60000;

        this.requests++;
        this.note(scope, right.sealed);
        const { status, text } = await stream(this.daemon, auth(tenant), asked.path, { ...always,
            ...asked.body, ...greedy, ...(left ? { max_tokens: ENDLESS } : {}), stream: true,
            stream_options: { include_usage: true } }, most, ms);
        if (status && status !== 200) return this.fault("no stream", tenant, { status, text });
        const all = events(text).filter((event) => event !== "[DONE]");
        const got = join(all.flatMap((event) => event.choices).map(read));
        const cached = all.at(-1)?.usage?.prompt_tokens_details.cached_tokens;
        if (!left && cached === undefined) return this.fault("half a stream", tenant, text);
        if (cached) this.checkHit(tenant, scope, right, cached);
        this.checkAnswer(tenant, got, right, cached);
    }

    async session(tenant, name, what, body) {
        const path = `/v1/sessions/${name}${what === "delete" ? "" : `/${what}`}`;
        const method = what === "delete" ? "DELETE" : "POST";
        const { status, text } = await ask(this.daemon, method, path, body, auth(tenant));

        // 404: a busy table has dropped it; 409: more may not be pinned, or the name is taken
        if (![200, 204, 404, 409].includes(status)) this.fault(`no ${what}`, tenant, { status, text });
    }

    async listed(tenant) {
        const { json } = await ask(this.daemon, "GET", "/v1/sessions", undefined, auth(tenant));

        for (const { id } of json.data)
            if (id.startsWith("of-") && id !== `of-${tenant}`) this.fault("a session", tenant, id);
    }

    // One at a time of each, so that the ids of its session are those of the turn before.
    async dialogue(tenant, d) {
        const key = `${tenant} ${d.name}`;

        if (this.busy.has(key)) return;
        this.busy.add(key);
        const { name } = d;
        await this.whole(tenant, d.asked, [d.right], { ...greedy, session_id: name });
        const what = pick(["pin", "fork", "none"]);
        if (what !== "none") await this.session(tenant, name, what, what === "fork" ? { id: `of-${tenant}` } : {});
        for (let i = 0; i < 2; i++)
            await this.whole(tenant, d.next, d.turns, { ...greedy, session_id: what === "fork" && i ? `of-${tenant}` : name });
        await this.listed(tenant);
        if (what === "pin") await this.session(tenant, name, "unpin", {});
        await this.session(tenant, name, "delete");
        if (what === "fork") await this.session(tenant, `of-${tenant}`, "delete");
        this.busy.delete(key);
    }
}

// What a degraded block may do: up to the first token that differs, the one that should be the
// best is among the best, and about as likely.
function isNear(got, right, n) {
    for (let i = 0; i < n; i++) {
        const [best, logprob] = Object.entries(right.best[i]).reduce((a, b) => (b[1] > a[1] ? b : a));

        if (!(Math.abs(got.best[i][best] - logprob) <= NEAR)) return false;
        if (got.ids[i] !== right.ids[i]) return true;
    }
    return true;
}

// Resolves with what came: until the end, `most` events or `ms`.
function stream(daemon, headers, path, body, most, ms) {
    return new Promise((resolve) => {
        const data = JSON.stringify(body), got = { status: 0, text: "" };
        const request = http.request({ host: "127.0.0.1", port: daemon.port, method: "POST", path,
            headers: { ...headers, "content-type": "application/json",
                "content-length": Buffer.byteLength(data) } }, (response) => {
            got.status = response.statusCode;
            response.setEncoding("utf8");
            response.on("data", (part) => {
                got.text += part;
                if (got.text.split("\n\n").length > most) leave();
            });
            response.on("error", () => {});
            response.on("close", over);
        });
        const over = () => {
            clearTimeout(timer);
            resolve({ ...got, text: got.text.slice(0, got.text.lastIndexOf("\n\n") + 2) });
        };
        const leave = () => request.destroy();
        const timer = setTimeout(leave, ms);

        request.on("error", () => {});
        request.on("close", over);
        request.end(data);
    });
}

// --- who does what ---

const acts = {
    whole: (run, t) => ask1(run, t, {}),
    streamed: (run, t) => run.streamed(t.tenant, pick(t.questions)),
    left: (run, t) => run.streamed(t.tenant, pick(t.questions), { events: 1 + Math.floor(Math.random() * 6) }),
    torn: (run, t) => run.streamed(t.tenant, pick(t.questions), { ms: Math.random() * 60 }),
    salted: (run, t) => ask1(run, t, { cache_salt: "salt" }),
    cached: (run, t) => ask1(run, t, { max_tokens: 0 }),
    several: (run, t) => run.whole(t.tenant, t.questions[0].asked, t.questions[0].drawn,
        { ...drawn(1000 * t.tenant), n: COPIES }),
    dialogue: (run, t) => run.dialogue(t.tenant, pick(t.dialogues)),
};
const often = Object.entries({ whole: 5, streamed: 3, left: 3, torn: 1, salted: 1, cached: 1, several: 2,
    dialogue: 1 }).flatMap(([name, times]) => Array(times).fill(name));

function ask1(run, t, more) {
    const q = pick(t.questions);

    return run.whole(t.tenant, q.asked, [q.right], { ...greedy, ...more });
}

// Those who are there now: a window that moves on over all of them.
function present(run) {
    const at = Math.floor(run.requests / STAY) + Math.floor(Math.random() * ACTIVE);

    return run.tenants[at % run.tenants.length];
}

// What all of them send, one after the other: where blocks are shared, all but the first find them.
async function askTheSame(run) {
    for (const { tenant, questions } of run.tenants) {
        const { asked, right } = questions.at(-1);

        await run.whole(tenant, asked, [right], greedy);
    }
}

async function client(run, requests) {
    while (run.requests < requests && run.faults.length < 20) {
        const name = pick(often);

        run.counts[name] = (run.counts[name] ?? 0) + 1;
        await acts[name](run, present(run));
    }
}

// The keys of so many tenants, as options.
const keysOf = (n) => ["--api-key-file", newFile(Array.from({ length: n }, (_, i) => `${keyOf(i)}\n`).join(""))];

// All of them, with the answers that are right. Options: of a server whose mode is the same.
export async function makeTenants(n, own, options) {
    const reference = await startDaemon(...keysOf(n), ...options);
    const tenants = [];

    try {
        for (let i = 0; i < n; i++) tenants.push(await makeTenant(reference, i, own));
    } finally {
        await reference.stop();
    }
    return tenants;
}

// So many requests of `clients` at once against a server with these options. Returns what was
// counted, and `faults`, at most some 20.
export async function runCanaries(tenants, { requests, clients, options, ...how }) {
    const daemon = await startDaemon(...keysOf(tenants.length), "--max-queue", String(8 * clients), ...options);
    const run = new Run(daemon, tenants, how);

    try {
        await askTheSame(run);
        await Promise.all(Array.from({ length: clients }, () => client(run, requests)));
        const now = await metrics(daemon);
        const counted = (name) => series(now, `xquantd_${name}`);

        return { requests: run.requests, acts: run.counts, hits: run.hits, told: run.told, equal: run.equal,
            near: run.near, evictions: counted("cache_evictions_total"),
            degraded: counted("cache_degraded_blocks_total"), faults: run.faults,
            end: await daemon.stop() };
    } finally {
        daemon.child.kill("SIGKILL");
    }
}
