// soak.mjs - hours of rude clients: does anything leak, hang, or lose count?
//
//   node tests/bench/soak.mjs [--abuse] [MINUTES [CLIENTS [SERVE OPTION...]]]
//
// With --abuse every case of tests/api/abuse is played beside them, again and again, against the
// same daemon, and has to go as expected.
//
// Each client does one random thing after the other: whole and streamed answers, several at once,
// sessions that go on, are pinned, forked and deleted; streams that are aborted, sockets that are
// torn before and while they are answered, prompts that are too long, bodies that are too large or
// no JSON, no UTF-8, no HTTP. Then the daemon must come to rest: nothing runs or waits, memory is
// where it was after a fifth of the time, no session's blocks are held, and the exit code of
// its own recount is 0. Prints JSON; fails otherwise.
import http from "node:http";
import net from "node:net";

import cases from "../api/abuse/cases.mjs";
import { runOne } from "../api/abuse/run.mjs";
import { ask, chat, complete, metrics, series, startDaemon } from "../api/daemon.mjs";

const abuse = process.argv[2] === "--abuse";
const [minutes = "20", clients = "24", ...options] = process.argv.slice(abuse ? 3 : 2);
// Cases know the default limits; that some wait for a place is not what they are about.
const limits = abuse ? ["--max-queue", "512", "--read-timeout", "4"] : ["--max-queue", "16", "--max-body-size", "4MiB"];
const AT_ONCE = 2; // cases
const MOST_GROWN = 16 * 1024 * 1024;
let daemon;
process.on("exit", () => daemon?.child.kill("SIGTERM"));
daemon = await startDaemon("--cache", "klt16", "--cache-size", "64MiB", ...limits,
    ...options);
const until = Date.now() + Number(minutes) * 60000, warm = Date.now() + Number(minutes) * 12000;
const counts = {}, odd = [];
const words = "the river town answered slowly because nobody had asked about a house of stone".split(" ");
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const text = (n) => Array.from({ length: n }, () => pick(words)).join(" ");
const user = (n) => [{ role: "user", content: text(n) }];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A request that is torn after a while: ms < 0 before anything is read.
function tear(body, ms) {
    return new Promise((resolve) => {
        const data = JSON.stringify(body);
        const request = http.request({ host: "127.0.0.1", port: daemon.port, method: "POST",
            path: "/v1/chat/completions", headers: { "content-type": "application/json",
                "content-length": Buffer.byteLength(data) } }, (response) => response.resume());
        const end = () => {
            request.destroy();
            resolve({ status: 0 });
        };

        request.on("error", () => resolve({ status: 0 }));
        request.on("close", () => resolve({ status: 0 }));
        request.end(data);
        setTimeout(end, Math.max(0, ms));
    });
}

// Bytes that are no request; what comes back does not matter, that it ends does.
function raw(bytes) {
    return new Promise((resolve) => {
        const socket = net.connect(daemon.port, "127.0.0.1", () => socket.end(bytes));

        socket.on("error", () => {});
        socket.on("data", () => {});
        socket.on("close", () => resolve({ status: 0 }));
        setTimeout(() => socket.destroy(), 3000);
    });
}

// A conversation of a few turns, then perhaps one of the things that can be done to it.
async function converse() {
    const id = `soak-${Math.floor(Math.random() * 60)}`, messages = user(120);
    let answer;

    for (let turn = 0; turn < 3; turn++) {
        answer = await chat(daemon, { messages, max_tokens: 24, session_id: id });
        if (answer.status !== 200) return answer;
        messages.push(answer.json.choices[0].message, ...user(40));
    }
    const what = pick(["pin", "unpin", "fork", "delete", "show"]);
    if (what === "delete") return ask(daemon, "DELETE", `/v1/sessions/${id}`);
    if (what === "show") return ask(daemon, "GET", `/v1/sessions/${id}`);
    return ask(daemon, "POST", `/v1/sessions/${id}/${what}`,
        what === "fork" ? { id: `${id}-fork-${Math.floor(Math.random() * 5)}` } : {});
}

// What it may answer, and what is done. 404, 409: a session that another client has changed.
const acts = {
    whole: [[200, 429], () => chat(daemon, { messages: user(60), max_tokens: 20 })],
    long: [[200, 429], () => chat(daemon, { messages: user(900), max_tokens: 8 })],
    several: [[200, 429], () => complete(daemon, { prompt: [text(9), text(200)], n: 3, max_tokens: 9 })],
    streamed: [[200, 429], () => chat(daemon, { messages: user(200), max_tokens: 60, stream: true })],
    conversation: [[200, 404, 409, 429], converse],
    aborted: [[0], () => tear({ messages: user(300), max_tokens: 400, stream: true }, Math.random() * 900)],
    torn: [[0], () => tear({ messages: user(900), max_tokens: 5 }, Math.random() * 30)],
    too_long: [[400], () => chat(daemon, { messages: user(4000), max_tokens: 10 })],
    too_large: [[413, 0], () => ask(daemon, "POST", "/v1/completions", "x".repeat(abuse ? 17 << 20 : 5 << 20))
        .catch(() => ({ status: 0 }))],
    no_json: [[400], () => complete(daemon, '{"prompt": "x", ')],
    no_utf8: [[400], () => complete(daemon, Buffer.from([0x7b, 0x22, 0x70, 0xff, 0xfe, 0x7d]))],
    no_field: [[400], () => chat(daemon, { messages: user(3), temperature: 99 })],
    no_http: [[0], () => raw("\x16\x03\x01 what\r\n\r\n")],
    half: [[0], () => raw("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")],
};

async function client() {
    while (Date.now() < until) {
        const name = pick(Object.keys(acts)), [good, act] = acts[name];
        const { status, text: said } = await act();

        counts[name] = (counts[name] ?? 0) + 1;
        if (!good.includes(status)) odd.push(`${name}: ${status} ${said?.slice(0, 200)}`);
        if (status === 429) await sleep(200);
    }
}

// Every case in turn, from a place of its own in the table.
async function abuser(i) {
    for (let at = Math.floor(i * cases.length / AT_ONCE); Date.now() < until; at++) {
        const one = cases[at % cases.length];

        counts.abuse = (counts.abuse ?? 0) + 1;
        await runOne(daemon, one).catch((fault) => odd.push(`${one.name}: ${fault.message.slice(0, 300)}`));
    }
}

const resident = async () => (await metrics(daemon)).process_resident_memory_bytes;
const work = Promise.all([...Array.from({ length: Number(clients) }, client),
    ...Array.from({ length: abuse ? AT_ONCE : 0 }, (_, i) => abuser(i))]);
await sleep(warm - Date.now());
const early = await resident();
await work;
const rested = async () => {
    const now = await metrics(daemon);

    return series(now, "xquantd_requests_running") + series(now, "xquantd_requests_waiting");
};
let stuck = await rested();
for (let i = 0; i < 50 && stuck; i++) {
    await sleep(200);
    stuck = await rested();
}
for (let page = 1; page;) {
    const { data } = (await ask(daemon, "GET", "/v1/sessions")).json;

    for (const s of data) await ask(daemon, "DELETE", `/v1/sessions/${s.id}`);
    page = data.length;
}
const end = await metrics(daemon);
const late = await resident();
const left = { active: series(end, "xquantd_cache_tokens", 'state="active"'),
    pinned: series(end, "xquantd_cache_tokens", 'state="pinned"'),
    connections: series(end, "xquantd_http_connections") };
const { code } = await daemon.stop();
const good = !odd.length && !stuck && !left.active && !left.pinned && code === 0 &&
    late - early <= MOST_GROWN;
console.log(JSON.stringify({ minutes: Number(minutes), clients: Number(clients), counts,
    odd: odd.slice(0, 10), stuck, left, exit_code: code, rss_early: early, rss_late: late,
    rss_grown: late - early, good }, null, 1));
process.exitCode = good ? 0 : 1;
