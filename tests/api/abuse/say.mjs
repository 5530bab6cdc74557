// say.mjs - the words that cases are written in.
//
// A case: [name, script, expected, holds], after the name perhaps {slow: true}, to be run at the
// same time as all that are slow, or {clients: n}, all of whom do the same. The script is
// client.mjs's, one piece or a list.
// What is expected, of one answer or of each in a list:
//
//   200 ............. that status, and the connection goes on: the runner asks again on it
//   closing(400) .... that status, `Connection: close`, and the server's end of the connection
//   ending(200) ..... that status, and then the server's end, which the answer does not announce
//   "closed" ........ no answer, the server closes
//   "left" .......... the client has left; only others are looked at
//
// holds, optional: a RegExp that the last body matches, or a function of the last answer and
// all of them that is true.

export const closing = (status) => ({ status, closing: true, ends: true });
export const ending = (status) => ({ status, closing: false, ends: true });

export const H = "Host: localhost\r\n";
export const J = `${H}Content-Type: application/json\r\n`;
export const request = (line, headers = H, body = "") => `${line}\r\n${headers}\r\n${body}`;
export const get = (target = "/livez", headers = H) => request(`GET ${target} HTTP/1.1`, headers);

const POST = "POST /v1/completions HTTP/1.1";
export const GOOD = '{"prompt":"One","max_tokens":1,"temperature":0}';
export const STREAM = '{"prompt":"One","max_tokens":1500,"ignore_eos":true,"stream":true}';

// POST /v1/completions: with more headers; with a length; in chunks.
export const post = (headers = "", body = "") => request(POST, J + headers, body);
export const length = (n, body = "", headers = "") =>
    post(`Content-Length: ${n}\r\n${headers}`, body);
export const whole = (body, headers = "") => length(body.length, body, headers);
export const chat = (body) => request("POST /v1/chat/completions HTTP/1.1",
    `${J}Content-Length: ${body.length}\r\n`, body);
export const chunked = (...lines) => post("Transfer-Encoding: chunked\r\n", lines.join(""));
export const chunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;
export const END = "0\r\n\r\n";

// A body of bytes, or one that is made when it is sent, with its length before it.
export const bytes = (...parts) => {
    const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
    return [length(body.length), body];
};
export const made = (n, make) => [length(n), make];

// The same again and again, with a pause in ms, until the connection ends.
export function* endless(piece, pause = 1) {
    for (;;) {
        yield piece;
        yield pause;
    }
}

export const times = (n, text) => text.repeat(n);
export const list = (n, what) => Array.from({ length: n }, () => what);
