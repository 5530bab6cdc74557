// forms.test.mjs - answers that are held to a form, whole and streamed, by the official client.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { chat, complete, failure, startDaemon } from "./daemon.mjs";
import { randomSchema } from "./random_schema.mjs";
import { ajv } from "./validator.mjs";

let daemon;
let client;
let model;

before(async () => {
    daemon = await startDaemon();
    client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: "none", maxRetries: 0 });
    model = (await client.models.list()).data[0].id;
});
after(async () => {
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null });
});

const messages = [{ role: "user", content: "Write some JSON." }];
const format = (schema) => ({ type: "json_schema", json_schema: { name: "answer", strict: true, schema } });

test("random schemas at temperature 1.5: each answer parses, is valid and ends with stop", async () => {
    const seeds = Array.from({ length: 32 }, (_, i) => i + 1);

    while (seeds.length) {
        await Promise.all(seeds.splice(0, 8).map(async (seed) => {
            const schema = randomSchema(seed);
            const answer = await client.chat.completions.create({ model, messages, seed,
                temperature: 1.5, max_tokens: 400, response_format: format(schema) });
            const text = answer.choices[0].message.content;
            const valid = ajv.compile(schema);

            assert.ok(valid(JSON.parse(text)), `${JSON.stringify(schema)}\n${text}\n${ajv.errorsText(valid.errors)}`);
            assert.equal(answer.choices[0].finish_reason, "stop");
        }));
    }
});

test("the smallest budget that is taken is enough, and what is said is needed is taken", async () => {
    for (let seed = 500; seed < 508; seed++) {
        const schema = randomSchema(seed);
        const ask = (max_tokens) => client.chat.completions.create({ model, messages, seed, max_tokens,
            temperature: 1.5, response_format: format(schema) });
        const e = await failure(ask(1));

        assert.deepEqual([e.status, e.param, e.code], [400, "max_tokens", "invalid_value"]);
        const least = Number(/at least (\d+) tokens/.exec(e.message)[1]);
        await failure(ask(least - 1));
        for (const more of [0, 1, 5, 20]) {
            const { choices } = await ask(least + more);
            assert.ok(ajv.compile(schema)(JSON.parse(choices[0].message.content)), choices[0].message.content);
            assert.equal(choices[0].finish_reason, "stop");
        }
    }
});

test("a stream has what the whole answer has, and n answers are those of their seeds", async () => {
    const body = { model, messages, seed: 11, temperature: 1.2, max_tokens: 300,
        response_format: format(randomSchema(77)) };
    const whole = await client.chat.completions.create({ ...body, n: 3 });
    const next = await client.chat.completions.create({ ...body, seed: 12 });
    let text = "", reason;

    for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? "";
        reason = chunk.choices[0]?.finish_reason ?? reason;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(reason, whole.choices[0].finish_reason);
    assert.equal(next.choices[0].message.content, whole.choices[1].message.content);
    for (const c of whole.choices) JSON.parse(c.message.content);
});

test("every kind of form holds the answer", async () => {
    const cases = [
        [{ response_format: { type: "json_object" } }, (t) => typeof JSON.parse(t) === "object" && t.startsWith("{")],
        [{ guided_regex: "\\d{3}-[a-f]{2,4}" }, (t) => /^\d{3}-[a-f]{2,4}$/.test(t)],
        [{ guided_choice: ["yes", "no", "maybe so"] }, (t) => ["yes", "no", "maybe so"].includes(t)],
        [{ grammar: 'root ::= ("ha" " "?){2,4} "!"' }, (t) => /^(ha ?){2,4}!$/.test(t)],
        [{ guided_grammar: 'root ::= [α-ω]+ "." ' }, (t) => /^[α-ω]+\.$/.test(t)],
        [{ structured_outputs: { choice: ["a", "b"] } }, (t) => ["a", "b"].includes(t)],
        [{ json_schema: { type: "array", items: { type: "boolean" }, maxItems: 3 } }, (t) => Array.isArray(JSON.parse(t))],
        [{ guided_json: '{"type":"integer","minimum":5,"maximum":7}' }, (t) => ["5", "6", "7"].includes(t)],
    ];

    for (const [form, holds] of cases) {
        for (let seed = 0; seed < 5; seed++) {
            const more = { ...form, seed, temperature: 1.5, max_tokens: 60 };
            const a = await chat(daemon, { messages, ...more });
            const b = await complete(daemon, { prompt: "Answer:", ...more });

            assert.deepEqual([a.status, b.status], [200, 200], a.text + b.text);
            assert.ok(holds(a.json.choices[0].message.content), JSON.stringify(form) + a.text);
            assert.ok(holds(b.json.choices[0].text), JSON.stringify(form) + b.text);
            assert.equal(a.json.choices[0].finish_reason, "stop");
        }
    }
});

test("penalties, biases and ignore_eos cannot break a form; logprobs are of the model", async () => {
    const form = { guided_choice: ["yes", "no"], max_tokens: 8, logprobs: true, top_logprobs: 3 };
    const free = await chat(daemon, { messages, max_tokens: 1, temperature: 0, logprobs: true, top_logprobs: 3 });
    const bias = Object.fromEntries(["y", "ye", "yes", "n", "no", "e", "s", "o", "es"].map((t) => [t, -100]));
    const held = await chat(daemon, { messages, ...form, temperature: 0, logit_bias: bias, ignore_eos: true,
        presence_penalty: 2, frequency_penalty: 2 });

    assert.equal(held.status, 200, held.text);
    assert.ok(["yes", "no"].includes(held.json.choices[0].message.content), held.text);
    assert.equal(held.json.choices[0].finish_reason, "stop");
    assert.deepEqual(held.json.choices[0].logprobs.content[0].top_logprobs,
        free.json.choices[0].logprobs.content[0].top_logprobs);
});

test("what cannot be held is refused by its place", async () => {
    const cases = [
        [{ response_format: format({ type: "object", properties: { a: { not: { type: "null" } } } }) },
            "response_format.json_schema.schema.properties.a.not"],
        [{ response_format: format({ $ref: "#/$defs/none" }) }, "response_format.json_schema.schema.$ref"],
        [{ guided_regex: "(?=a)b" }, "guided_regex"],
        [{ grammar: "root ::= root \"x\"" }, "grammar"],
        [{ guided_choice: ["a"], guided_regex: "a" }, "guided_choice"],
        [{ response_format: { type: "json_object" }, grammar: 'root ::= "a"' }, "grammar"],
    ];

    for (const [body, param] of cases) {
        const e = await failure(client.chat.completions.create({ model, messages, max_tokens: 50, ...body }));
        assert.deepEqual([e.status, e.param, e.type], [400, param, "invalid_request_error"], JSON.stringify(body));
    }
});
