// run.mjs - every call that can fail does, once, in turn: what then?
//
//   node tests/torture/run.mjs BUILD [sample|all|NUMBER,...] [WORD]
//
// NUMBERs try those calls alone, WORD picks sweeps by how their names begin.
//
// A sweep is one phase, one kind of call (kinds.def) and one way of going wrong. How many such
// calls there are is counted first; then each of them fails, or an even sample of them. Phases:
//
//   life     start, serve, drain, end: an exit code and a sentence, or as if nothing had been
//   request  one client's request meets the fault; another client's session must not notice
//   drain    requests run and wait when SIGTERM comes; all are answered, the exit code is 0
//
// In every case: no signal, no hang, no sanitizer's report. Closes with the count of sweeps.
import { execFileSync } from "node:child_process";
import path from "node:path";

import { Faults, KINDS, ask, folder, knock, serve, stop, within } from "./faults.mjs";

const [build = "build", extent = "sample", word = ""] = process.argv.slice(2);
const program = path.join(build, "tests/torture/xquantd");
const tool = path.join(build, "tests/tools/random_model");
const sanitized = /address|undefined|thread/.test(build);
const LIMIT_MS = sanitized ? 60000 : 20000;
const model = path.join(folder, "small.gguf");
const SMALL = ["--model", model, "--threads", "2", "--cache-size", "4MiB", "--max-running", "4"];
let passed = 0, failed = 0;
let trials = 0, meant = 0, struck = 0; // of those that were to fail, how many did

// --- what is always wrong ---

function complaints(daemon) {
    const report = /(ERROR: \w+Sanitizer|runtime error:|Assertion .* failed).*/.exec(daemon.log);

    return report ? [report[0]] : [];
}

// The end of a daemon that was told to end: well, or with what was to be said of its output.
async function endings(daemon) {
    const { code, signal } = await stop(daemon, LIMIT_MS);
    const said = code === 1 && /output is lost: /.test(daemon.log);

    return [...complaints(daemon), ...(code === 0 || said ? [] : [`ended with ${signal ?? code}`])];
}

// Errors are JSON, in OpenAI's shape.
function isError(answer) {
    return answer.status >= 400 && answer.json?.error?.message?.length > 0 &&
        "type" in answer.json.error;
}

// No answer at all is right where the connection itself is what failed: its socket, or what the
// library takes for it before it is one.
function mayVanish(where) {
    return /^(recv|send|sendmsg|writev) /.test(where) || where.includes(" MHD_add_connection ");
}

// What is wrong with an answer that met the fault: it is right, or an error in JSON.
function judge(answer, faults, isRight) {
    if (answer.status === -1) return ["no answer in time"];
    if (answer.status === 200 ? isRight(answer) : faults.struck && isError(answer)) return [];
    if (answer.status === 0 && faults.struck && mayVanish(faults.where(program))) return [];
    return [`answered ${answer.status} ${answer.text.slice(0, 300)}`];
}

// --- sweeps ---

// The numbers to try: all, or one that moves on from sweep to sweep.
function numbers(n) {
    if (/^\d/.test(extent)) return extent.split(",").map(Number);
    if (extent === "all") return Array.from({ length: n }, (_, i) => i + 1);
    return [1 + (7 * (passed + failed)) % n];
}

const isWanted = (name) => name.startsWith(word) || word.startsWith(name);

async function sweep(name, n, attempt) {
    const wrong = [];

    if (!name.startsWith(word)) return;
    for (const number of numbers(n)) {
        const found = await attempt(number);

        trials++;
        if (found.problems.length) wrong.push(`  ${number}: ${found.problems.join("; ")}\n    ${found.where}`);
    }
    if (wrong.length) failed++;
    else passed++;
    console.log(`${wrong.length ? "FAIL" : "ok  "} ${name}: ${n} calls`);
    if (wrong.length) console.log(wrong.join("\n"));
}

// A call that was to fail has failed, or none with that number came. How many do come hovers.
function tally(way, faults) {
    if (way !== "fails") return; // many calls move no bytes
    meant++;
    struck += faults.struck > 0;
}

// Every kind, and the ways in which calls that move bytes go wrong besides.
async function sweeps(phase, counts, attempt) {
    for (const kind of KINDS) {
        if (!counts[kind]) continue;
        await sweep(`${phase}, ${kind}`, counts[kind], (n) => attempt(kind, n, "fails"));
        if (kind !== "read" && kind !== "write") continue;
        await sweep(`${phase}, ${kind} interrupted`, counts[kind], (n) => attempt(kind, n, "interrupted"));
        await sweep(`${phase}, ${kind} cut short`, counts[kind], (n) => attempt(kind, n, "short"));
    }
}

// --- a whole life ---

const PROBE = { messages: [{ role: "user", content: "A river town. ".repeat(60) }], max_tokens: 8,
    temperature: 0, ignore_eos: true, return_token_ids: true };
const probe = (daemon) => ask(daemon, "POST", "/v1/chat/completions", PROBE, {}, LIMIT_MS);
// What it serves with; bytes that were chosen by what is free on the machine hover.
function alike(a, b) {
    return ["model", "ctx_size", "cache", "threads"].every((name) => a[name] === b[name]) &&
        Math.abs(Math.log2(a.cache_bytes / b.cache_bytes)) < 0.5;
}

async function refused(daemon, faults) {
    const { code } = daemon.ended;

    if (!(code > 0)) return [`ended with ${daemon.ended.signal ?? code} before it was ready`];
    if (!faults.struck) return ["ended for no reason"];
    return /^xquantd: \S+ .{8,}$/m.test(daemon.log) ? [] : [`exit code ${code} without a sentence`];
}

async function served(daemon, faults, expected) {
    const problems = [], before = faults.struck;

    if (daemon.ready.cache && !alike(daemon.ready, expected.ready))
        problems.push(`serves otherwise: ${JSON.stringify(daemon.ready)}`);
    const isRight = ({ json }) => JSON.stringify(json?.choices) === expected.choices;
    let answer = await probe(daemon);

    problems.push(...judge(answer, faults, isRight));
    if (answer.status !== 200 && faults.struck > before) answer = await probe(daemon);
    if (answer.status !== 200 || !isRight(answer)) problems.push(`then ${answer.status} ${answer.text}`);
    return [...problems, ...await endings(daemon)];
}

async function live(args, kind, number, way, expected) {
    const faults = new Faults();
    let problems, daemon;

    faults.arm(kind, number, way);
    daemon = await serve(program, faults, args, LIMIT_MS);
    if (daemon.ended) problems = [...await refused(daemon, faults), ...complaints(daemon)];
    else if (daemon.ready) problems = await served(daemon, faults, expected);
    else problems = ["neither ready nor ended in time", ...await endings(daemon)];
    const where = problems.length ? `${faults.where(program)}\n    ${daemon.log.slice(-400)}` : "";
    tally(way, faults);
    faults.close();
    return { problems, where };
}

async function lifePhase(name, args) {
    if (!isWanted(`life ${name}`)) return;
    const faults = new Faults();
    const daemon = await serve(program, faults, args, LIMIT_MS);
    const expected = { ready: daemon.ready };

    expected.choices = JSON.stringify((await probe(daemon)).json.choices);
    const wrong = await endings(daemon);
    const counts = faults.counts;
    faults.close();
    if (wrong.length) throw new Error(`undisturbed: ${wrong} ${daemon.log}`);
    await sweeps(`life ${name}`, counts, (kind, n, way) => live(args, kind, n, way, expected));
}

// --- one client's request, and another client's session ---

const LETTER = Array.from({ length: 40 }, (_, i) => `Line ${i} of a long letter.`).join(" ");
const KEY = { authorization: "Bearer b" };
const COMMON = { temperature: 0, ignore_eos: true, return_token_ids: true };
const TURN = [{ role: "user", content: LETTER }];

// What B asks: a request with something of its own in it, and what of the answer must be the same
// whichever number it has. Salted anew each time, so that nothing of it is in the cache.
const chatOf = (more) => (n) => ["POST", "/v1/chat/completions",
    { messages: [{ role: "user", content: `B. ${LETTER}` }], max_tokens: 100, cache_salt: `b${n}`,
        ...COMMON, ...more }];
const choices = ({ json }) => JSON.stringify(json?.choices);
// Of a stream what the events say, wherever one ends; an error may be one of them.
function streamed({ text }) {
    const data = [...text.matchAll(/^data: (.*)$/gm)].map((match) => match[1]);
    const said = {};

    if (data.at(-1) !== "[DONE]" || data.length < 3) return null;
    for (const event of data.slice(0, -1).map((line) => JSON.parse(line)))
        for (const { index, delta, finish_reason } of event.choices ?? [])
            said[index] = (said[index] ?? "") + (delta.content ?? "") + (finish_reason ?? "");
    return JSON.stringify(said);
}
const ASKED = {
    chat: { request: chatOf({}), part: choices },
    late: { request: chatOf({}), late: true, part: choices }, // on a connection that was there
    stream: { request: chatOf({ stream: true, n: 2, stop: ["\u0001\u0002"], logprobs: true, top_logprobs: 2,
        logit_bias: { 300: 1 } }), part: streamed },
    text: { request: (n) => ["POST", "/v1/completions", { prompt: [LETTER, "A river."], n: 2,
        max_tokens: 20, cache_salt: `b${n}`, ...COMMON }], part: choices },
    turns: { request: (n) => [...chatOf({ session_id: `b${n}` })(n)], again: true, part: choices },
    pin: { request: () => ["POST", "/v1/sessions/b/pin"], part: ({ json }) => json?.pinned },
    fork: { request: (n) => ["POST", "/v1/sessions/b/fork", { id: `fork${n}` }],
        part: ({ json }) => json?.tokens },
    list: { request: () => ["GET", "/v1/sessions/b"], part: ({ json }) => json?.tokens },
    metrics: { request: () => ["GET", "/metrics"],
        part: ({ text }) => text.includes("xquantd_cache_tokens") && text.endsWith("\n") },
    models: { request: () => ["GET", "/v1/models"], part: ({ json }) => json?.data?.[0]?.id },
};

class Visit {
    static asked = 0;

    constructor(args) {
        this.args = args;
    }
    async begin() {
        this.faults = new Faults();
        this.daemon = await serve(program, this.faults, this.args, LIMIT_MS);
        if (!this.daemon.ready) throw new Error(this.daemon.log);
        await this.say({ messages: TURN, session_id: "a", max_tokens: 40, ...COMMON });
        await ask(this.daemon, "POST", "/v1/sessions/a/pin");
        await this.say({ messages: TURN, session_id: "b", max_tokens: 4, ...COMMON }, KEY);
        for (let i = 0; i < 2; i++) this.expected = await this.turn(); // the second has its own blocks, too
    }
    say(body, headers = {}) {
        return ask(this.daemon, "POST", "/v1/chat/completions", body, headers, LIMIT_MS);
    }
    // A's next turn: its answer, and how much of it was found in the cache.
    async turn() {
        const { status, json } = await this.say({ messages: [...TURN, { role: "assistant", content: "Yes." },
            { role: "user", content: "And then?" }], session_id: "a", max_tokens: 20, ...COMMON });

        return JSON.stringify([status, json?.choices, json?.usage]);
    }
    // B's request; the second of two where the first makes the session that the second goes on with.
    async request({ request, again, late }, before = () => {}) {
        const number = Visit.asked++;
        const one = (socket) => ask(this.daemon, ...pad(request(number)), KEY, LIMIT_MS, socket);

        if (again) await one();
        const socket = late && await knock(this.daemon);
        before();
        const answer = await one(socket);
        this.faults.disarm();
        return answer;
    }
    async end() {
        const wrong = this.daemon.ended ? [`ended with ${this.daemon.ended.signal ?? this.daemon.ended.code}`,
            ...complaints(this.daemon)] : await endings(this.daemon);

        this.faults.close();
        return wrong;
    }
}

const pad = ([method, path, body]) => [method, path, body];

async function visit(v, asked, right, kind, number, way) {
    const answer = await v.request(asked, () => v.faults.arm(kind, number, way));
    tally(way, v.faults);
    const problems = judge(answer, v.faults, (a) => asked.part(a) === right || (asked.part(a) === null &&
        v.faults.struck && /^data: \{"error":\{"message":".*\}\}$/m.test(a.text)));
    const after = await within(LIMIT_MS, v.turn(), "no answer in time");

    if (after !== v.expected) problems.push(`A's session has changed: ${after} was ${v.expected}`);
    const where = problems.length ? `${v.faults.where(program)}\n    ${v.daemon.log.slice(-400)}` : "";
    if (v.daemon.ended || problems.some((p) => p.includes("in time"))) {
        problems.push(...await v.end());
        await v.begin();
    }
    return { problems, where };
}

async function requestPhase(name, args, list = Object.keys(ASKED)) {
    const v = new Visit(args);
    const phase = `request ${name}`;

    if (!isWanted(phase)) return;
    await v.begin();
    for (const what of list.filter((each) => isWanted(`${phase} ${each}`))) {
        const asked = ASKED[what];
        const right = asked.part(await v.request(asked));

        if (!right) throw new Error(`${phase} ${what}: undisturbed there is no answer`);
        await v.request(asked, () => v.faults.reset());
        const counts = v.faults.counts;
        await sweeps(`${phase} ${what}`, counts, (kind, n, way) => visit(v, asked, right, kind, n, way));
    }
    const end = { problems: await v.end(), where: v.daemon.log.slice(-600) }; // whichever are wanted
    await sweep(`${phase}, end`, 1, async () => end);
}

// --- drain ---

const LONG = { messages: TURN, max_tokens: 1200, stream: true, ...COMMON };

// One stream runs and two wait for their turn, and SIGTERM comes.
async function drain(args, arm) {
    const faults = new Faults();
    const daemon = await serve(program, faults, [...args, "--max-running", "1"], LIMIT_MS);
    const answers = ["x", "y", "z"].map((salt) =>
        ask(daemon, "POST", "/v1/chat/completions", { ...LONG, cache_salt: salt }, {}, LIMIT_MS));
    const arrived = async () => {
        const { text } = await ask(daemon, "GET", "/metrics");

        return /^xquantd_requests_running\{.*\} 1$/m.test(text) &&
            /^xquantd_requests_waiting\{.*\} 2$/m.test(text);
    };

    while (!await arrived());
    arm(faults);
    const wrong = await endings(daemon);
    const counts = faults.counts;
    for (const answer of await Promise.all(answers))
        wrong.push(...judge(answer, faults, (a) => streamed(a) !== null || /^data: \{"error"/m.test(a.text))
            .filter(() => answer.status !== 503 || !isError(answer)));
    const where = wrong.length ? `${faults.where(program)}\n    ${daemon.log.slice(-600)}` : "";
    const found = { problems: wrong, where, counts, struck: faults.struck };

    faults.close();
    return found;
}

async function drainPhase(name, args) {
    const phase = `drain ${name}`;

    if (!isWanted(phase)) return;
    const { problems, counts, where } = await drain(args, (faults) => faults.reset());
    if (problems.length) throw new Error(`${phase}, undisturbed: ${problems} ${where}`);
    await sweeps(phase, counts, async (kind, n, way) => {
        const found = await drain(args, (faults) => faults.arm(kind, n, way));

        tally(way, found);
        return found;
    });
}

// --- all ---

execFileSync(tool, ["--d", "64", "--layers", "3", "--heads", "2", "--kv-heads", "2", "--ffn", "128",
    "--vocab", "8192", "--ctx", "2048", model]);
execFileSync(path.join(build, "xquantd"), ["calibrate", "--model", model], { stdio: "ignore" });
const PRESSED = ["--cache", "klt8", "--degrade", "--cache-size", "512KiB", "--ctx-size", "1024"];

await lifePhase("klt8", [...SMALL, "--cache", "klt8", "--degrade"]);
await lifePhase("auto", ["--model", model, "--threads", "2", "--max-kl", "10"]);
await requestPhase("klt8", [...SMALL, "--cache", "klt8"]);
await requestPhase("degrade", [...SMALL, ...PRESSED], ["chat"]);
await requestPhase("xq4", [...SMALL, "--cache", "xq4", "--workspace-size", "0"], ["chat", "stream"]);
await requestPhase("kv16", [...SMALL, "--cache", "kv16"], ["chat", "text", "late"]);
await drainPhase("klt8", [...SMALL, "--cache", "klt8"]);
console.log(`${trials} trials in ${Math.round(performance.now() / 1000)} s; of ${meant} calls that were to fail ${struck} did`);
if (struck < 0.8 * meant) {
    console.log("FAIL too few calls failed: they are not counted where they are made to fail");
    failed++;
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exitCode = failed ? 1 : 0;
