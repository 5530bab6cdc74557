// freezes.mjs - does another client wait, or SIGTERM, while one client does its worst?
//
//   node tests/bench/freezes.mjs [COMPLETIONS]
//
// Each freeze by itself, against a server of its own: the median of some completions alone, on that
// server, then of as many beside the freeze, and how long SIGTERM takes while it goes on. Prints a
// table and JSON. Fails where a completion takes more than twice its time alone, or the server ends
// later than its timeout, or not by itself. For an otherwise idle machine: see MARGIN_MS.
import { ask, complete, startDaemon } from "../api/daemon.mjs";
import { connect, DEAF, heard, play } from "../api/abuse/client.mjs";
import { chunked, endless, get, GOOD, J, length, request, times, whole } from "../api/abuse/say.mjs";

const COMPLETIONS = Number(process.argv[2] ?? 7);
const MOST = 2, DRAIN_SECONDS = 3, MARGIN_MS = 1000; // to end in, after the drain
const MiB = 1 << 20;
const PROBE = { prompt: "The city of Paris is", max_tokens: 48, temperature: 0, ignore_eos: true };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Again and again, each on a connection of its own, until `over`.
async function repeat(daemon, over, script) {
    while (!over.yes) {
        const c = connect(daemon.port, false);

        await play(c, script, 60000).catch(() => {});
        if (!c.ended) await sleep(50);
        c.socket.destroy();
        await sleep(5);
    }
}

function* after(first, rest) {
    yield* [first].flat();
    yield* rest;
}

const letters = (letter) => endless(Buffer.alloc(65536, letter));
const body = `${" ".repeat(15 * MiB)}{`;
const spaces = [length(body.length), Buffer.from(body), heard("HTTP/1.1")];
const text = JSON.stringify({ prompt: "a ".repeat(4 * MiB), max_tokens: 1 });
const long = [length(text.length), Buffer.from(text), heard("HTTP/1.1")];

// name, clients at once, what each says (once or again and again), options of the server
const freezes = [
    { name: "1 pipelining without end", clients: 4, says: () => endless(times(500, get())) },
    { name: "1 and reading nothing", clients: 4, says: () => after(DEAF, endless(times(500, get()))) },
    { name: "2 an extension without end", clients: 2, says: () => after(chunked("1e;"), letters("x")) },
    { name: "2 70,000 letters, again", clients: 2, again: [chunked("1e;" + times(70000, "x"))] },
    { name: "2 70,000 zeros, again", clients: 2, again: [chunked(times(70000, "0"))] },
    { name: "3 more than may connect", clients: 80, says: () => [get()], options: ["--max-connections", "64"] },
    { name: "4 stderr that nobody reads", clients: 2, again: [get("/v1/models/" + times(200, "x"))], deaf: true },
    { name: "5 idle keep-alive, to the limit", clients: 80, says: () => [get()],
        options: ["--max-connections", "64"] },
    { name: "6 15 MiB of spaces", clients: 2, again: spaces },
    { name: "6 a text of 8 MiB", clients: 2, again: long },
    { name: "7 a queue of requests that left", clients: 2, again: [request("POST /v1/completions HTTP/1.1",
        `${J}Content-Length: ${GOOD.length}\r\n`, GOOD), 5] },
];

async function time(daemon) {
    const start = performance.now();
    const answer = await complete(daemon, PROBE);

    if (answer.status !== 200) throw new Error(answer.text);
    return performance.now() - start;
}

async function median(daemon) {
    const list = [];

    for (let i = 0; i < COMPLETIONS; i++) list.push(await time(daemon));
    return list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
}

// SIGTERM, and the ms until the end; NaN: it did not end by itself.
async function end(daemon) {
    const start = performance.now();
    const timer = setTimeout(() => daemon.child.kill("SIGKILL"), 10000 * DRAIN_SECONDS);
    const { code } = await daemon.stop();

    clearTimeout(timer);
    return code === 0 ? performance.now() - start : NaN;
}

async function measure({ name, clients, says, again, deaf, options = [] }) {
    const daemon = await startDaemon("--shutdown-timeout", String(DRAIN_SECONDS), "--log-level", "debug", ...options);
    const over = {}, open = [];

    try {
        await time(daemon);
        const alone = await median(daemon);
        if (deaf) daemon.child.stderr.pause();
        const work = Array.from({ length: clients }, () => {
            if (again) return repeat(daemon, over, again);
            const c = connect(daemon.port, false);

            open.push(c);
            return play(c, says(), 60000).catch(() => {});
        });
        await sleep(1000);
        const beside = await median(daemon);
        const health = (await ask(daemon, "GET", "/health")).status;
        const ended = await end(daemon);

        over.yes = true;
        open.forEach(({ socket }) => socket.destroy());
        await Promise.all(work);
        return { name, alone, beside, ratio: beside / alone, health, ended,
            good: beside <= MOST * alone && health === 200 && ended <= 1000 * DRAIN_SECONDS + MARGIN_MS };
    } finally {
        daemon.child.kill("SIGKILL");
    }
}

const rows = [];

console.log("freeze                              alone ms  beside ms  ratio  SIGTERM ms");
for (const freeze of freezes) {
    const row = await measure(freeze);

    rows.push(row);
    console.log(row.name.padEnd(34), ...[row.alone, row.beside].map((x) => x.toFixed(0).padStart(9)),
        row.ratio.toFixed(2).padStart(7), row.ended.toFixed(0).padStart(10), row.good ? "" : "  <-- over");
}
console.log(JSON.stringify(rows));
process.exitCode = rows.every(({ good }) => good) ? 0 : 1;
