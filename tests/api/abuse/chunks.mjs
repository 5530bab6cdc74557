// chunks.mjs - bodies in chunks, and bodies that are too large.
import { FIN, heard, LEAVE } from "./client.mjs";
import { chunk, chunked, closing, END, get, GOOD, H, length, list, times } from "./say.mjs";

const MiB = 1 << 20;
const good = chunk(GOOD) + END;
const zeros = () => Buffer.alloc(MiB, "0");
const filled = chunk("x".repeat(65535));

export default [
    ["a body in one chunk", chunked(good), 200],
    ["a body in chunks of one byte", chunked(...[...GOOD].map(chunk), END), 200],
    ["a body in 47 segments", [chunked(), ...[...chunk(GOOD)], END], 200],
    ["sizes in capitals, with zeros before them", chunked(`000002F\r\n${GOOD}\r\n000\r\n\r\n`), 200],
    ["no chunk but the last", chunked(END), 400],
    ["the last chunk early, then more", chunked(END, get()), [400, 200]],
    // extensions
    ["an extension", chunked(`2f;a=b\r\n${GOOD}\r\n0;c\r\n\r\n`), 200],
    ["an extension in quotes", chunked(`2f;a="b;c"\r\n${GOOD}\r\n0\r\n\r\n`), 200],
    ["an extension of 10,000 letters", chunked(`2f;${times(10000, "x")}\r\n${GOOD}\r\n`, END), 200],
    ["an extension of 70,000 letters", chunked(`2f;${times(70000, "x")}\r\n${GOOD}\r\n`, END),
        closing(400)],
    ["an extension of 16 MiB", [chunked("1e;"), ...list(16, zeros)], closing(400)],
    ["an extension without end, after a good chunk",
        [chunked(chunk("{"), "1;"), ...list(4, zeros)], closing(400)],
    ["a size of 70,000 zeros", chunked(times(70000, "0")), closing(400)],
    ["a size of 16 MiB of zeros", [chunked(), ...list(16, zeros)], closing(400)],
    // sizes that are none
    ["a size that is no number", chunked(`zz\r\n${GOOD}\r\n`, END), closing(400)],
    ["a size of 0x2f", chunked(`0x2f\r\n${GOOD}\r\n`, END), closing(400)],
    ["a size of +2f", chunked(`+2f\r\n${GOOD}\r\n`, END), closing(400)],
    ["a size of -1", chunked(`-1\r\n${GOOD}\r\n`, END), closing(400)],
    ["a size with a blank before it", chunked(` 2f\r\n${GOOD}\r\n`, END), closing(400)],
    ["a size of 2f.0", chunked(`2f.0\r\n${GOOD}\r\n`, END), closing(400)],
    ["no size", chunked(`\r\n${GOOD}\r\n`, END), closing(400)],
    ["no size but an extension", chunked(`;a=b\r\n${GOOD}\r\n`, END), closing(400)],
    ["a NUL for a size", chunked(`\0\r\n${GOOD}\r\n`, END), closing(400)],
    ["a size of 2^64", chunked("10000000000000000\r\n", GOOD), closing(413)],
    ["a size of 2^64 + 47", chunked(`1000000000000002f\r\n${GOOD}\r\n`, END), closing(413)],
    ["a size of 100 digits", chunked(times(100, "f") + "\r\n", GOOD), closing(413)],
    // what follows a chunk
    ["no line end after a chunk", chunked(`2f\r\n${GOOD}0\r\n\r\n`), closing(400)],
    ["a chunk longer than it says", chunked(`2\r\n${GOOD}\r\n`, END), closing(400)],
    ["a chunk shorter than it says, then closed", [chunked(`ff\r\n${GOOD}\r\n`), FIN], "closed"],
    ["chunks without the last, then closed", [chunked(chunk(GOOD)), FIN], "closed"],
    ["half a size, then closed", [chunked("2"), FIN], "closed"],
    ["half a size, then left", [chunked("2"), 20, LEAVE], "left"],
    // trailers
    ["a trailer", chunked(chunk(GOOD), "0\r\nX: y\r\n\r\n"), 200],
    ["a trailer that says the length", chunked(chunk(GOOD), "0\r\nContent-Length: 3\r\n\r\n"), 200],
    ["a trailer that is no header", chunked(chunk(GOOD), "0\r\nx\r\n\r\n"), closing(400)],
    ["500 trailers", chunked(chunk(GOOD), "0\r\n", times(500, "X: y\r\n"), "\r\n"), 200],
    ["5,000 trailers", chunked(chunk(GOOD), "0\r\n", times(5000, "X: y\r\n"), "\r\n"), closing(431)],
    ["a trailer of 70,000 letters", chunked(chunk(GOOD), `0\r\nX: ${times(70000, "y")}\r\n\r\n`),
        closing(400)],
    ["a trailer without end, then closed", [chunked(chunk(GOOD), "0\r\nX: "), FIN], "closed"],
    // too large
    ["a length over the limit", length(17 * MiB), closing(413), /request_too_large|too large/],
    ["a length over the limit, sent whole before the answer is read",
        [length(17 * MiB), ...list(17, zeros)], closing(413)],
    ["a length over the limit, sent by and by",
        [length(17 * MiB), zeros, heard("HTTP/1.1 413"), zeros, 50, zeros, 50, zeros], closing(413)],
    ["chunks over the limit", [chunked(), ...list(270, filled), END], closing(413)],
    ["a chunk over the limit", [chunked("1100000\r\n"), ...list(17, zeros), "\r\n" + END],
        closing(413)],
    ["chunks just below the limit", [chunked(), ...list(255, filled), END], 400],
    ["a length over the limit of GET", get("/livez", `${H}Content-Length: 99999999\r\n`), closing(413)],
];
