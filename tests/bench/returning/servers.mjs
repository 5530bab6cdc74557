// servers.mjs - the servers that are compared: started on a free port, their memory read.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import net from "node:net";

import { startDaemon } from "../../api/daemon.mjs";

const started = new Set();

process.on("exit", () => {
    for (const child of started) child.kill("SIGKILL");
});

// Bytes in memory, as the kernel counts them.
export function resident(server) {
    const status = readFileSync(`/proc/${server.pid}/status`, "utf8");

    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
}

const modelOf = async (url) => (await (await fetch(`${url}/v1/models`)).json()).data[0].id;

export async function xquantd(model, ...options) {
    const daemon = await startDaemon("--model", model, ...options);

    started.add(daemon.child);
    return { name: "xquantd", options, url: daemon.url, pid: daemon.child.pid, daemon,
        model: await modelOf(daemon.url), stop: async () => {
            await daemon.stop();
            started.delete(daemon.child);
        } };
}

const freePort = () => new Promise((resolve) => {
    const s = net.createServer().listen(0, "127.0.0.1", () => {
        const { port } = s.address();
        s.close(() => resolve(port));
    });
});

export async function llama(program, model, ...options) {
    const port = await freePort();
    const args = ["-m", model, "--host", "127.0.0.1", "--port", String(port), "-t", "2", "-fa",
        "on", "--no-webui", "--jinja", ...options];
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    const server = { name: "llama-server", options, url: `http://127.0.0.1:${port}`,
        pid: child.pid };
    let log = "", code = null;

    started.add(child);
    child.stderr.setEncoding("utf8").on("data", (text) => (log = (log + text).slice(-4000)));
    child.on("exit", (c) => (code = c ?? -1));
    server.stop = () => new Promise((resolve) => {
        child.on("exit", resolve);
        child.kill("SIGTERM");
        started.delete(child);
    });
    for (;;) {
        if (code !== null) throw new Error(`llama-server ended with ${code}:\n${log}`);
        const up = await fetch(`${server.url}/health`).then((r) => r.ok, () => false);
        if (up) {
            server.model = await modelOf(server.url);
            return server;
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}
