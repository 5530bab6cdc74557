// storms.mjs - what must not keep the daemon from serving others or from ending: {name, clients,
// script}, all at once. Streams are fewer than may run together: a probe that waits its turn
// behind them would say nothing of freezes.
import { DEAF, heard } from "./client.mjs";
import { chunk, chunked, endless, get, H, length, STREAM, times, whole } from "./say.mjs";

function* after(first, rest) {
    yield* [first].flat();
    yield* rest;
}

const letters = (letter) => endless(Buffer.alloc(65536, letter));

export default [
    ["pipelining without end", 4, () => endless(times(500, get()))],
    ["pipelining without end or reading", 4, () => after(DEAF, endless(times(500, get())))],
    ["an extension without end", 2, () => after(chunked("1e;"), letters("x"))],
    ["a size of zeros without end", 2, () => after(chunked(), letters("0"))],
    ["a trailer without end", 2, () => after(chunked("0\r\nX: "), letters("x"))],
    ["a body letter by letter", 4, () => after(length(10000), endless(" ", 20))],
    ["chunk after chunk", 4, () => after(chunked(), endless(chunk(" "), 5))],
    ["a head letter by letter", 4, () => after("GET /livez HTTP/1.1\r\n" + H + "X: ", endless("x", 20))],
    ["refusals without end", 2, () => endless(whole("{"), 5)],
    ["streams that nobody reads", 3, () => [DEAF, whole(STREAM)]],
    ["streams behind a stream", 2, () => [times(20, whole(STREAM)), heard("data: ")]],
    ["connections that say nothing", 50, () => []],
].map(([name, clients, script]) => ({ name, clients, script }));
