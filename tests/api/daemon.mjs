// daemon.mjs - starts the real daemon for a test, on free ports, and stops it.
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const program = process.env.XQUANTD ?? "build/xquantd";
// What a deadline that is no promise of ours is multiplied by: a sanitizer makes all of it slower.
export const slowness = /thread|address|undefined/.test(program) ? 5 : 1;
const agent = new http.Agent({ keepAlive: true, maxSockets: 512 });

// spawn() of a program that does not outlive the tests: one that a failed test has left running
// would keep the folder, the port and the whole run (run.sh ends node by force, once all is tested).
const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));
export function launch(...args) {
    const child = spawn(...args);

    children.add(child);
    child.on("exit", () => children.delete(child));
    return child;
}

// Start `serve` with more arguments; resolves when it is ready.
export async function startDaemon(...args) {
    const child = launch(
        program,
        ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format",
            "json", "--cache-size", "256MiB", ...args],
        { stdio: ["ignore", "ignore", "pipe"] });
    const daemon = { child, port: 0, adminPort: 0, log: "" };

    daemon.exited = new Promise((resolve) =>
        child.on("exit", (code, signal) => resolve({ code, signal })));
    await new Promise((resolve, reject) => {
        let rest = "";

        child.stderr.setEncoding("utf8");
        child.stderr.on("data", (text) => {
            daemon.log += text;
            rest += text;
            const lines = rest.split("\n");
            rest = lines.pop();
            for (const line of lines) {
                const fact = parse(line);

                if (fact?.msg === "ready") resolve();
                if (fact?.msg !== "listening") continue;
                if (fact.listener === "api") daemon.port = Number(fact.port);
                else daemon.adminPort = Number(fact.port);
            }
        });
        daemon.exited.then(() => reject(new Error("the daemon ended early:\n" + daemon.log)));
    });
    daemon.url = `http://127.0.0.1:${daemon.port}`;
    daemon.stop = async () => {
        child.kill("SIGTERM");
        return await daemon.exited;
    };
    return daemon;
}

// A new folder's path, and one of a file in it that holds this text.
export const newFolder = () => mkdtempSync(join(tmpdir(), "xquantd-test-"));
export function newFile(text, name = "file") {
    const path = join(newFolder(), name);

    writeFileSync(path, text, { mode: 0o600 });
    return path;
}

function parse(line) {
    try {
        return JSON.parse(line);
    } catch {
        return null;
    }
}

// One request; resolves with {status, headers, text, json}.
export function ask(daemon, method, path, body, headers = {}, port = daemon.port) {
    return new Promise((resolve, reject) => {
        const data = body === undefined ? undefined
            : typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
        const request = http.request(
            { agent, host: "127.0.0.1", port, method, path, headers: {
                ...(data === undefined ? {} : { "content-type": "application/json",
                    "content-length": Buffer.byteLength(data) }), ...headers } },
            (response) => {
                let text = "";
                response.setEncoding("utf8");
                response.on("data", (part) => (text += part));
                response.on("end", () =>
                    resolve({ status: response.statusCode, headers: response.headers, text,
                        json: parse(text) }));
                response.on("error", reject);
            });
        request.on("error", reject);
        request.end(data);
    });
}

export const complete = (daemon, body) => ask(daemon, "POST", "/v1/completions", body);
export const chat = (daemon, body) => ask(daemon, "POST", "/v1/chat/completions", body);

// What an APIError says, of a call that must fail.
export async function failure(promise) {
    try {
        await promise;
    } catch (e) {
        return e;
    }
    throw new Error("it should have failed");
}

// The data lines of an event stream, parsed; "[DONE]" stays text.
export function events(text) {
    return text.split("\n\n").filter((event) => event.startsWith("data: "))
        .map((event) => event.slice(6)).map((data) => (data === "[DONE]" ? data : JSON.parse(data)));
}

// Bytes to a socket and back until it closes or is silent for `quiet` ms.
export function rawRequest(daemon, bytes, quiet = 400) {
    return new Promise((resolve) => {
        const socket = net.connect(daemon.port, "127.0.0.1", () => socket.write(bytes));
        let got = "";
        let timer = setTimeout(() => socket.destroy(), 5000);

        socket.on("data", (part) => {
            got += part.toString("latin1");
            clearTimeout(timer);
            timer = setTimeout(() => socket.destroy(), quiet);
        });
        socket.on("error", () => {});
        socket.on("close", () => {
            clearTimeout(timer);
            resolve(got);
        });
    });
}

// Every sample of /metrics: {"name{labels}": number}.
export async function metrics(daemon) {
    const { text } = await ask(daemon, "GET", "/metrics", undefined, {}, daemon.adminPort);
    const samples = {};

    for (const line of text.split("\n")) {
        if (!line || line.startsWith("#")) continue;
        const at = line.lastIndexOf(" ");
        samples[line.slice(0, at)] = Number(line.slice(at + 1));
    }
    return samples;
}

// Sum over the samples of one series, whatever their labels (that contain `having`).
export function series(samples, name, having = "") {
    let sum = 0;
    let found = false;

    for (const [key, value] of Object.entries(samples)) {
        if (key !== name && !key.startsWith(name + "{")) continue;
        if (!key.includes(having)) continue;
        sum += value;
        found = true;
    }
    if (!found) throw new Error(`no series ${name}`);
    return sum;
}

// Wait until `check` (async) is true, at most `ms`; resolves with the milliseconds it took.
export async function until(check, ms, what) {
    const start = performance.now();

    while (!(await check())) {
        if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return performance.now() - start;
}
