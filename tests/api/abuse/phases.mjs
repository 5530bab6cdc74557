// phases.mjs - when it is sent: slowly, in halves, in advance; and clients that leave.
import { DEAF, FIN, heard, LEAVE, RESET, served } from "./client.mjs";
import { chunk, chunked, closing, END, ending, get, GOOD, H, J, length, list, request, STREAM, times, whole }
    from "./say.mjs";

const n = GOOD.length;
const slowly = (text, ms) => [...text].flatMap((letter) => [letter, ms]);
const endless = (ms) => list(1000, ["x", ms]).flat();
const first = "GET /livez HTTP/1.1\r\n";
const after = (word, ms = 30) => [
    [`${word} before a byte`, [ms]],
    [`${word} in the first line`, ["GET /liv", ms]],
    [`${word} after the first line`, [first, ms]],
    [`${word} in the headers`, [first + H + "X: ", ms]],
    [`${word} before a body`, [length(n), ms]],
    [`${word} in a body`, [length(n, GOOD.slice(0, 20)), ms]],
    [`${word} in a body of chunks`, [chunked("2f\r\n", GOOD.slice(0, 20)), ms]],
    [`${word} between chunks`, [chunked(chunk(GOOD)), ms]],
    [`${word} before 100-continue`, [length(n, "", "Expect: 100-continue\r\n"), ms]],
    [`${word} while it waits for its answer`, [whole(STREAM.replace("true}", "false}")), 150]],
    [`${word} while it streams`, [whole(STREAM), heard("data: ")]],
    [`${word} after an answer`, [get(), served(1)]],
];
const leaving = (word, piece) =>
    after(word).map(([name, script]) => [name, [...script, piece], "left"]);

export default [
    // slow, but whole in time
    ["a request letter by letter", slowly(get(), 2), 200],
    ["a head letter by letter, for a second, then closed",
        [...slowly(first + times(50, "X"), 14), FIN], "closed"],
    ["a body letter by letter", [length(n), ...slowly(GOOD, 2)], 200],
    ["chunks letter by letter", [chunked(), ...slowly(chunk(GOOD) + END, 2)], 200],
    ["a CR, and its LF later", [first + H + "\r", 100, "\n"], 200],
    ["a chunk's CR, and its LF later", [chunked("2f\r"), 50, `\n${GOOD}\r`, 50, "\n0\r\n\r", 50,
        "\n"], 200],
    // too slow: cut off by --read-timeout, all of them at the same time
    ["a head that never ends", { slow: true }, [first, ...endless(50)], closing(408)],
    ["a head that stops", { slow: true }, [first + H], closing(408)],
    ["a first line that stops", { slow: true }, ["GET /liv"], "closed"],
    ["a connection that says nothing", { slow: true }, [], "closed"],
    ["a body that never ends", { slow: true }, [length(5000), ...endless(50)], closing(408)],
    ["a body that stops", { slow: true }, [length(n, "{")], closing(408)],
    ["chunks that never end", { slow: true }, [chunked(), ...list(500, [chunk("x"), 50]).flat()],
        closing(408)],
    ["chunks that stop", { slow: true }, [chunked(chunk("{"))], closing(408)],
    ["a chunk line that stops", { slow: true }, [chunked("2f;xxx")], closing(408)],
    ["a trailer that stops", { slow: true }, [chunked(chunk(GOOD), "0\r\nX: y\r\n")], closing(408)],
    // halves
    ["our half closed after a request", [get(), FIN], ending(200)],
    ["our half closed after a completion", [whole(GOOD), FIN], "closed"],
    ["our half closed after a stream began", [whole(STREAM), heard("data: "), FIN], "left"],
    // leaving, politely and not
    ...leaving("left", LEAVE),
    ...leaving("reset", RESET),
    // in advance
    ["two good ones at once", get() + get(), [200, 200]],
    ["a completion and what is pipelined behind it", whole(GOOD) + get() + whole(GOOD),
        [200, 200, 200]],
    ["a good one, then a bad one", get() + get("/livez", "X: y\r\n"), [200, closing(400)]],
    ["a bad one, then a good one", get("/livez", "X: y\r\n") + get(), closing(400)],
    ["a missing one between good ones", get() + get("/x") + get(), [200, 404, 200]],
    ["a body of another request within a body", length(get().length, get()), 400],
    ["a good one, then half of one", [get() + "GET /li", served(1), "vez HTTP/1.1\r\n" + H + "\r\n"],
        [200, 200]],
    ["1,000 at once", times(1000, get()), list(1000, 200)],
    ["200 completions' refusals at once", times(200, whole("{")), list(200, 400)],
    ["10,000 that are not waited for", [times(10000, get()), LEAVE], "left"],
    ["10,000 whose answers nobody reads", [DEAF, times(10000, get()), 100, RESET], "left"],
    ["100 streams behind a stream", [times(100, whole(STREAM)), heard("data: "), LEAVE], "left"],
    // readers who do not read
    ["a stream that nobody reads", [DEAF, whole(STREAM), 500, RESET], "left"],
    ["32 streams that nobody reads", { clients: 32 }, [DEAF, whole(STREAM), 500, LEAVE], "left"],
    ["100 connections that say nothing", { clients: 100 }, [200, LEAVE], "left"],
    ["100 heads that stop", { clients: 100 }, [first, 200, RESET], "left"],
    ["100 bodies that stop", { clients: 100 }, [length(n, "{"), 200, LEAVE], "left"],
    ["a stream to HTTP/1.0", request("POST /v1/completions HTTP/1.0",
        `${J}Content-Length: ${STREAM.length - 3}\r\n`, STREAM.replace("1500", "3")), closing(200),
    /\[DONE\]/],
];
