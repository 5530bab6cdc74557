// faults.mjs - steers the file that fault.c maps, and runs the program that has it.
import { execFileSync, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

// fault.h: offsets of what is written and read, in bytes.
const AT = { kind: 0, way: 8, from: 16, until: 24, counts: 32, struck: 160, where: 168 };
const FILE_BYTES = AT.where + 4096;
export const WAYS = ["fails", "interrupted", "short"];
export const KINDS = [...readFileSync(new URL("kinds.def", import.meta.url), "utf8")
    .matchAll(/^KIND\((\w+)/gm)].map((match) => match[1]);

export const folder = mkdtempSync(path.join(tmpdir(), "xquantd-torture-"));
const children = new Set();
process.on("exit", () => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
});
let files = 0;

export class Faults {
    constructor() {
        this.path = path.join(folder, `faults-${files++}`);
        this.fd = openSync(this.path, "w+");
        writeSync(this.fd, Buffer.alloc(FILE_BYTES));
    }
    close() {
        closeSync(this.fd);
        rmSync(this.path);
    }
    #put(at, ...numbers) {
        const words = BigUint64Array.from(numbers, BigInt);

        writeSync(this.fd, Buffer.from(words.buffer), 0, words.byteLength, at);
    }
    #get(at, n) {
        const words = new BigUint64Array(n);

        readSync(this.fd, Buffer.from(words.buffer), 0, words.byteLength, at);
        return [...words].map(Number);
    }
    // Count from now on; no call goes wrong.
    reset() {
        this.#put(AT.until, 0);
        this.#put(AT.counts, ...KINDS.map(() => 0));
        this.#put(AT.struck, 0);
    }
    // The call of that kind with that number, counted from now on, and `more` after it go wrong.
    arm(kind, number, way = "fails", more = 0) {
        this.reset();
        this.#put(AT.kind, KINDS.indexOf(kind), WAYS.indexOf(way), number, number + 1 + more);
    }
    disarm() {
        this.#put(AT.until, 0);
    }
    get struck() {
        return this.#get(AT.struck, 1)[0];
    }
    get counts() {
        const list = this.#get(AT.counts, KINDS.length);

        return Object.fromEntries(KINDS.map((kind, i) => [kind, list[i]]));
    }
    // The stack of what went wrong, functions of the program by their names.
    where(program) {
        const text = Buffer.alloc(4096);

        readSync(this.fd, text, 0, text.length, AT.where);
        return name(text.subarray(0, text.indexOf(0)).toString(), program);
    }
}

// "malloc < xquantd()+0x1234 < ..." with addr2line's answers; only what is near the call.
function name(stack, program) {
    const frames = stack.split(" < ").slice(0, 9);

    return frames.map((frame) => {
        const [, file, symbol, at] = /^(.*)\((.*)\)\+(0x[0-9a-f]+)$/.exec(frame) ?? [];

        if (file !== path.basename(program)) return symbol || frame;
        const before = "0x" + (Number(at) - 1).toString(16);

        try {
            return execFileSync("addr2line", ["-f", "-s", "-p", "-e", program, before],
                { encoding: "utf8" }).trim().replace(" at ", "@");
        } catch {
            return frame;
        }
    }).join(" < ");
}

const freePort = () => new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
        const { port } = probe.address();

        probe.close(() => resolve(port));
    });
});

export const within = (ms, promise, otherwise) => {
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, otherwise)));

    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// Starts `serve`; resolves when it is ready, has ended, or does not move any more. Its ports are
// chosen here, for the line that says them may be the one that gets lost.
export async function serve(program, faults, args, limit_ms) {
    const port = await freePort(), adminPort = await freePort();
    const child = spawn(program, ["serve", "--listen", `127.0.0.1:${port}`, "--admin-listen",
        `127.0.0.1:${adminPort}`, "--log-format", "json", ...args],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, XQUANTD_FAULTS: faults.path } });
    const daemon = { child, port, adminPort, log: "", ended: null, ready: null };

    children.add(child);
    daemon.exited = new Promise((resolve) => child.on("close", (code, signal) => {
        children.delete(child);
        daemon.ended = { code, signal };
        resolve(daemon.ended);
    }));
    child.stderr.setEncoding("utf8");
    const readiness = new Promise((resolve) => child.stderr.on("data", (text) => {
        daemon.log += text;
        const line = /^\{.*"msg":"ready".*\}$/m.exec(daemon.log);

        if (line) resolve(parse(line[0]) ?? {}); // it may have been cut
    }));
    daemon.ready = await within(limit_ms, Promise.race([readiness, daemon.exited.then(() => null),
        answers(daemon, limit_ms)]), null);
    return daemon;
}

// For a daemon whose line was lost: it is ready when it says so.
async function answers(daemon, limit_ms) {
    await new Promise((resolve) => setTimeout(resolve, limit_ms / 4));
    for (;;) {
        const answer = await ask(daemon, "GET", "/readyz");

        if (answer.status === 200) return {};
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (daemon.ended) return null;
    }
}

// SIGTERM, and how it ends; a hang is ended by force and has no code.
export async function stop(daemon, limit_ms) {
    daemon.child.kill("SIGTERM");
    const ended = await within(limit_ms, daemon.exited, null);

    if (ended) return ended;
    daemon.child.kill("SIGKILL");
    await daemon.exited;
    return { code: null, signal: "hang" };
}

// A connection that the daemon has, and that has said nothing yet: it takes them in turn.
export async function knock(daemon) {
    const socket = net.connect(daemon.port, "127.0.0.1").on("error", () => {});

    await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
    await ask(daemon, "GET", "/livez");
    return socket;
}

// One request on a connection of its own, or on this one: {status, text, json}; status 0: the connection ended before
// the answer did, -1: neither did in time.
export function ask(daemon, method, path, body, headers = {}, limit_ms = 20000, socket) {
    return new Promise((resolve) => {
        const data = body === undefined ? "" : JSON.stringify(body);
        let text = "";
        const end = (status) => {
            clearTimeout(timer);
            resolve({ status, text, json: parse(text) });
            request.destroy();
        };
        const own = socket ? { createConnection: () => socket } : {};
        const request = http.request({ ...own, agent: false, host: "127.0.0.1", port: daemon.port, method,
            path, headers: { "content-type": "application/json",
                "content-length": Buffer.byteLength(data), ...headers } }, (response) => {
            response.setEncoding("utf8");
            response.on("data", (part) => (text += part));
            response.on("end", () => end(response.statusCode));
            response.on("error", () => end(0));
            response.on("close", () => end(0)); // the first of these counts
        });
        const timer = setTimeout(end, limit_ms, -1);

        request.on("error", () => end(0));
        request.end(data);
    });
}

function parse(text) {
    try {
        return JSON.parse(text);
    } catch {
        return null;
    }
}
