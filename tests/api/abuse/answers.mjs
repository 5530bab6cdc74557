// answers.mjs - reads the answers of a connection as strictly as a proxy in front would.
//
// bytes -> interim answers (1xx) and final ones, whole or not yet; a byte that fits no answer
// is a fault: an answer too many, a body longer than its length, HTML past the end.

const statusLine = /^HTTP\/1\.[01] (\d{3}) [\t -~]*$/;
const headerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)$/;

function readHead(text) {
    const [first, ...lines] = text.split("\r\n");
    const status = statusLine.exec(first)?.[1];
    const headers = new Map();

    if (!status) return { fault: `no status line: ${JSON.stringify(first.slice(0, 80))}` };
    for (const line of lines) {
        const [, name, value] = headerLine.exec(line) ?? [];
        if (!name) return { fault: `no header: ${JSON.stringify(line.slice(0, 80))}` };
        const key = name.toLowerCase();
        if (headers.has(key)) return { fault: `${name} twice` };
        headers.set(key, value);
    }
    return { status: Number(status), headers };
}

// {body, next}: the chunks put together; next -1 where more must come.
function readChunks(bytes, at) {
    let body = "";

    for (;;) {
        const end = bytes.indexOf("\r\n", at);
        if (end < 0) return { body, next: -1 };
        const line = bytes.slice(at, end);
        if (!/^[0-9a-fA-F]{1,8}$/.test(line)) return { fault: `no chunk: ${line.slice(0, 40)}` };
        const n = parseInt(line, 16);
        if (bytes.length < end + 2 + n + 2) return { body: body + bytes.slice(end + 2), next: -1 };
        body += bytes.slice(end + 2, end + 2 + n);
        at = end + 2 + n + 2;
        if (bytes.slice(at - 2, at) !== "\r\n") return { fault: "a chunk longer than it says" };
        if (n === 0) return { body, next: at };
    }
}

function readBody(head, bytes, at, bodiless, ended) {
    const length = head.headers.get("content-length");
    const coding = head.headers.get("transfer-encoding");

    if (bodiless || head.status === 204 || head.status === 304 || head.status < 200)
        return { body: "", next: at };
    if (coding) return coding === "chunked" ? readChunks(bytes, at) : { fault: `coding ${coding}` };
    if (length === undefined) // until the end of the connection
        return { body: bytes.slice(at), next: ended ? bytes.length : -1 };
    if (!/^\d+$/.test(length)) return { fault: `length ${length}` };
    const next = at + Number(length);
    return { body: bytes.slice(at, next), next: next <= bytes.length ? next : -1 };
}

// The answers in `bytes` (latin1): {answers: [{status, headers, body, interim, whole}], fault}.
// bodiless: the requests were HEAD. ended: nothing more comes.
export function readAnswers(bytes, { bodiless = false, ended = false } = {}) {
    const answers = [];
    let at = 0, interim = [];

    while (at < bytes.length) {
        const end = bytes.indexOf("\r\n\r\n", at);
        if (end < 0) return { answers, fault: ended ? "half a head" : undefined };
        const head = readHead(bytes.slice(at, end));
        if (head.fault) return { answers, fault: head.fault };
        const { body, next, fault } = readBody(head, bytes, end + 4, bodiless, ended);
        if (fault) return { answers, fault };
        if (head.status < 200) {
            interim.push(head.status);
        } else {
            answers.push({ ...head, body, interim, whole: next >= 0 });
            interim = [];
        }
        if (next < 0) break;
        at = next;
    }
    return { answers };
}

// Does the server close after this one?
export const closes = (answer) => /(^|[ ,])close($|[ ,])/i.test(answer.headers.get("connection") ?? "");
