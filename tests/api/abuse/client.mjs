// client.mjs - one connection that says exactly what a case tells it to.
//
// A script is a list of pieces, in order: a string (its latin1 bytes), a Buffer, or a function
// that makes one is sent; a number is a pause in ms; the words below do what they say.
import net from "node:net";

import { readAnswers } from "./answers.mjs";

export const FIN = Symbol("close our side");
export const RESET = Symbol("reset the connection");
export const LEAVE = Symbol("close it, answer or not");
export const DEAF = Symbol("read nothing from now on");
export const heard = (text) => ({ heard: text }); // go on once the server has said this
export const served = (n) => ({ served: n }); // go on once it has given n answers

const words = {
    [FIN]: (c) => c.socket.end(),
    [RESET]: (c) => c.socket.resetAndDestroy(),
    [LEAVE]: (c) => c.socket.destroy(),
    [DEAF]: (c) => c.socket.pause(),
};

export function connect(port, bodiless) {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const c = { socket, bodiless, got: "", ended: false, closed: false, listeners: new Set() };
    const tell = () => c.listeners.forEach((listener) => listener());

    socket.setNoDelay(true);
    socket.on("data", (part) => {
        c.got += part.toString("latin1");
        tell();
    });
    socket.on("end", () => {
        c.ended = true;
        tell();
    });
    socket.on("error", (error) => (c.error = error.code));
    socket.on("close", () => {
        c.ended = c.closed = true;
        tell();
    });
    return c;
}

export const answersOf = (c) => readAnswers(c.got, c);
export const servedBy = (c) => answersOf(c).answers.filter((answer) => answer.whole).length;

// Resolves once `done` is true or nothing can change any more; rejects after `ms`.
export function waitFor(c, done, ms, what) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => finish(reject, new Error(
            `not within ${ms} ms: ${what}; got ${JSON.stringify(c.got.slice(0, 400))}`)), ms);
        const listener = () => {
            if (done() || c.ended) finish(resolve);
        };
        const finish = (how, value) => {
            clearTimeout(timer);
            c.listeners.delete(listener);
            how(value);
        };
        c.listeners.add(listener);
        listener();
    });
}

// A server that closes early is no fault of the sender's; what is left to say is dropped.
function send(c, bytes) {
    return new Promise((resolve) => {
        const over = () => {
            c.socket.off("end", over).off("close", over);
            resolve();
        };
        c.socket.on("end", over).on("close", over);
        c.socket.write(bytes, over);
    });
}

export async function play(c, script, ms) {
    for (const piece of script) {
        if (c.ended || c.closed) return;
        if (typeof piece === "symbol") words[piece](c);
        else if (typeof piece === "number") await new Promise((go) => setTimeout(go, piece));
        else if (piece.heard) await waitFor(c, () => c.got.includes(piece.heard), ms, piece.heard);
        else if (piece.served)
            await waitFor(c, () => servedBy(c) >= piece.served, ms, `${piece.served} answers`);
        else await send(c, typeof piece === "string" ? Buffer.from(piece, "latin1")
            : typeof piece === "function" ? piece() : piece);
    }
}
