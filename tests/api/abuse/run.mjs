// run.mjs - plays a case against a daemon and looks at what comes back.
//
// The answers are those expected and nothing else comes, errors are JSON of the shape of their path, and a
// connection that goes on is in step: it answers the next request, and that one only.
import assert from "node:assert/strict";

import { slowness } from "../daemon.mjs";
import { closes } from "./answers.mjs";
import { answersOf, connect, play, servedBy, waitFor } from "./client.mjs";
import { H } from "./say.mjs";

const CASE_MS = 20000 * slowness;

function checkError(answer, script) {
    const shape = { message: "string", type: "string", param: "string", code: "string" };
    const { error, ...more } = JSON.parse(Buffer.from(answer.body, "latin1").toString());
    const [, prefix] = /^\S+ (\/v1\/messages|\/api\/)/.exec(String(script[0])) ?? [];

    assert.equal(answer.headers.get("content-type"), "application/json");
    if (prefix === "/v1/messages") {
        assert.deepEqual([more, Object.keys(error)], [{ type: "error" }, ["type", "message"]]);
        return;
    }
    assert.deepEqual(more, {});
    if (prefix === "/api/") {
        assert.match(error, /^\S.{10,}$/s);
        return;
    }
    assert.deepEqual(Object.keys(error), Object.keys(shape));
    assert.match(error.message, /^\S.{10,}$/s);
    assert.match(error.type, /^[a-z_]+_error$/);
    for (const key of ["param", "code"])
        assert.ok(error[key] === null || typeof error[key] === shape[key], key);
}

const expectedOf = (expected) => (Array.isArray(expected) ? expected : [expected])
    .map((e) => (typeof e === "object" ? e : { status: e, closing: false, ends: false }));

function checkAnswers(c, expected, script) {
    const { answers, fault } = answersOf(c);

    assert.equal(fault, undefined);
    assert.deepEqual(answers.map((a) => a.status), expected.map((e) => e.status));
    answers.forEach((answer, i) => {
        assert.ok(answer.whole, "half an answer");
        if (answer.status >= 400 && !c.bodiless) checkError(answer, script);
        assert.equal(closes(answer), expected[i].closing, `closes after answer ${i + 1}`);
        assert.ok(!(closes(answer) && answer.headers.has("keep-alive")), "closes and keeps alive");
    });
    return answers;
}

// The connection is in step: one more request gets one answer, its own.
async function checkInStep(c, n) {
    if (c.bodiless) return;
    await play(c, [`GET /livez HTTP/1.1\r\n${H}X-Request-ID: in-step\r\n\r\n`], CASE_MS);
    await waitFor(c, () => servedBy(c) > n, CASE_MS, "the answer to one more request");
    const { answers, fault } = answersOf(c);
    assert.equal(fault, undefined);
    assert.equal(answers.length, n + 1);
    assert.equal(answers[n].status, 200);
    assert.equal(answers[n].headers.get("x-request-id"), "in-step");
}

async function runCase({ script, expected: expect, holds }, c) {
    const expected = expectedOf(expect);
    const last = expected.at(-1);

    await play(c, script, CASE_MS);
    if (expect === "left") return;
    if (expect === "closed") {
        await waitFor(c, () => c.ended, CASE_MS, "the end");
        assert.equal(c.got, "");
        return;
    }
    await waitFor(c, () => servedBy(c) >= expected.length, CASE_MS, `${expected.length} answers`);
    checkAnswers(c, expected, script); // before the end is waited for, which may never come
    if (last.ends) await waitFor(c, () => c.ended, CASE_MS, "the end");
    const answers = checkAnswers(c, expected, script);
    if (holds instanceof RegExp) assert.match(answers.at(-1).body, holds);
    else if (holds) assert.ok(holds(answers.at(-1), answers), JSON.stringify(answers.at(-1)));
    if (!last.ends) await checkInStep(c, answers.length);
}

async function runClient(daemon, one) {
    const bodiless = one.script.some((p) => typeof p === "string" && p.startsWith("HEAD "));
    const c = connect(daemon.port, bodiless);

    try {
        await runCase(one, c);
    } finally {
        c.socket.destroy();
    }
}

// All clients of a case, on connections of their own. Rejects with what was not as expected.
export const runOne = (daemon, one) =>
    Promise.all(Array.from({ length: one.clients }, () => runClient(daemon, one)));
