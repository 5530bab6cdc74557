// tools.test.mjs - tools in chat completions, by the official client: called, streamed, run, refused.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { failure, newFile, startDaemon } from "./daemon.mjs";
import { randomSchema } from "./random_schema.mjs";
import { ajv } from "./validator.mjs";

const weather = { type: "function", function: { name: "get_weather", description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string", maxLength: 20 },
        unit: { enum: ["c", "f"] } }, required: ["city"], additionalProperties: false } } };
const add = { type: "function", function: { name: "add", strict: true, parameters: { type: "object",
    properties: { a: { type: "integer" }, b: { type: "integer" } }, required: ["a", "b"],
    additionalProperties: false } } };
const tools = [weather, add];
const valid = Object.fromEntries(tools.map((t) => [t.function.name, ajv.compile(t.function.parameters)]));
const messages = [{ role: "user", content: "How is the weather in Paris?" }];

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

const create = (more) => client.chat.completions.create({ model, messages, tools, max_tokens: 400,
    temperature: 1.5, tool_choice: "required", ...more });

// Calls as they must be: names that there are, arguments that are valid.
function check(choice) {
    const calls = choice.message.tool_calls;

    assert.ok(calls.length >= 1);
    assert.equal(new Set(calls.map((c) => c.id)).size, calls.length);
    for (const { id, type, function: f } of calls) {
        assert.match(id, /^call_\w{24,}$/);
        assert.equal(type, "function");
        assert.ok(valid[f.name](JSON.parse(f.arguments)), `${f.name} ${f.arguments}`);
    }
    assert.equal(choice.message.content, null);
    assert.equal(choice.finish_reason, "tool_calls");
    return calls;
}

test("a call that is required comes, whatever is drawn", async () => {
    await Promise.all(Array.from({ length: 16 }, async (_, seed) => {
        const calls = check((await create({ seed, parallel_tool_calls: false })).choices[0]);
        assert.equal(calls.length, 1);
    }));
});

test("a named function, and those of allowed_tools, are the only ones", async () => {
    const choices = [{ type: "function", function: { name: "add" } }, { type: "allowed_tools",
        allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "add" } }] } }];

    for (const tool_choice of choices)
        for (let seed = 0; seed < 4; seed++)
            for (const call of check((await create({ seed, tool_choice, parallel_tool_calls: false })).choices[0]))
                assert.equal(call.function.name, "add");
});

test("what is streamed adds up to the whole, and members come once", async () => {
    for (let seed = 20; seed < 26; seed++) {
        const whole = (await create({ seed, parallel_tool_calls: false })).choices[0];
        const calls = [];
        let reason, content = "";

        for await (const chunk of await create({ seed, parallel_tool_calls: false, stream: true })) {
            const [choice] = chunk.choices;

            content += choice.delta.content ?? "";
            reason = choice.finish_reason ?? reason;
            for (const delta of choice.delta.tool_calls ?? []) {
                if (!calls[delta.index]) {
                    assert.deepEqual(Object.keys(delta).sort(), ["function", "id", "index", "type"]);
                    calls[delta.index] = { ...delta.function };
                } else {
                    assert.deepEqual(Object.keys(delta).sort(), ["function", "index"]);
                    assert.deepEqual(Object.keys(delta.function), ["arguments"]);
                    calls[delta.index].arguments += delta.function.arguments;
                }
            }
        }
        assert.equal(reason, "tool_calls");
        assert.equal(content, "");
        assert.deepEqual(calls, whole.message.tool_calls.map((c) => ({ ...c.function })));
    }
});

test(".stream() puts a call together, and tells of its arguments on the way", async () => {
    const stream = client.chat.completions.stream({ model, messages, tools: [add], temperature: 1.5, seed: 3,
        max_tokens: 200, parallel_tool_calls: false, tool_choice: "required" });
    const told = [];

    stream.on("tool_calls.function.arguments.done", (e) => told.push(e.arguments));
    const final = await stream.finalChatCompletion();
    const [call] = final.choices[0].message.tool_calls;
    assert.deepEqual(told, [call.function.arguments]);
    assert.ok(valid.add(JSON.parse(call.function.arguments)));
});

test("runTools calls the function and asks again with what it returned", async () => {
    let got;
    const runner = client.chat.completions.runTools({ model, messages, max_tokens: 200, temperature: 1.5, seed: 9,
        parallel_tool_calls: false, tool_choice: { type: "function", function: { name: "add" } },
        tools: [{ type: "function", function: { ...add.function, parse: JSON.parse,
            function: (args) => { got = args; return String(args.a + args.b); } } }] });

    await runner.done();
    assert.ok(valid.add(got), JSON.stringify(got));
    assert.ok(runner.messages.some((m) => m.role === "tool" && m.content === String(got.a + got.b)));
});

test("a history of calls and results is read, and none of the tools is called with none", async () => {
    const history = [...messages,
        { role: "assistant", content: null, tool_calls: [{ id: "call_1", type: "function",
            function: { name: "get_weather", arguments: '{"city":"Paris"}' } }] },
        { role: "tool", tool_call_id: "call_1", content: "sunny, 21 degrees" }];
    const [plain, none] = await Promise.all(["auto", "none"].map((tool_choice) => client.chat.completions.create({
        model, tools, tool_choice, messages: history, max_tokens: 24, temperature: 0 })));

    assert.ok(plain.usage.prompt_tokens > none.usage.prompt_tokens);
    assert.equal(none.choices[0].message.tool_calls, undefined);
    assert.equal(typeof none.choices[0].message.content, "string");
});

test("a call that max_tokens cuts says so, and what was told of it is a beginning", async () => {
    for (const max_tokens of [1, 12, 24]) {
        const body = { seed: 5, max_tokens, parallel_tool_calls: false,
            tool_choice: { type: "function", function: { name: "get_weather" } } };
        const cut = (await create(body)).choices[0], whole = (await create({ ...body, max_tokens: 400 })).choices[0];
        const begun = cut.message.tool_calls?.[0]?.function.arguments ?? "";

        assert.equal(cut.finish_reason, "length");
        assert.ok(whole.message.tool_calls[0].function.arguments.startsWith(begun));
    }
});

test("a text beside tools may be held to a schema", async () => {
    const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };

    for (let seed = 0; seed < 6; seed++) {
        const { message } = (await create({ seed, tool_choice: "auto", parallel_tool_calls: false,
            response_format: { type: "json_schema", json_schema: { name: "x", schema, strict: true } } })).choices[0];
        if (message.tool_calls) assert.ok(valid[message.tool_calls[0].function.name](JSON.parse(message.tool_calls[0].function.arguments)));
        else assert.ok(ajv.compile(schema)(JSON.parse(message.content)), message.content);
    }
});

test("arguments of random schemas are valid at temperature 1.5", async () => {
    // Those that leave room in a context of 2,048 tokens, where the prompt says them in full.
    const seeds = Array.from({ length: 60 }, (_, i) => i + 1)
        .filter((seed) => JSON.stringify(randomSchema(seed)).length < 1300).slice(0, 8);

    assert.equal(seeds.length, 8);
    while (seeds.length) {
        await Promise.all(seeds.splice(0, 8).map(async (seed) => {
            const { $defs = {}, ...value } = randomSchema(seed); // its $ref are of the document's root
            const parameters = { type: "object", properties: { value }, required: ["value"], $defs,
                additionalProperties: false };
            const answer = await create({ seed, max_tokens: 300, parallel_tool_calls: false,
                tools: [{ type: "function", function: { name: "f", parameters } }] });
            const [choice] = answer.choices;

            if (choice.finish_reason === "length") return;
            const ok = ajv.compile(parameters);
            assert.ok(ok(JSON.parse(choice.message.tool_calls[0].function.arguments)), ajv.errorsText(ok.errors));
        }));
    }
});

test("what is wrong with tools is said by its path", async () => {
    const f = (more) => [{ type: "function", function: { name: "f", ...more } }];
    const cases = [
        [{ tools: {} }, "tools"],
        [{ tools: [1] }, "tools[0]"],
        [{ tools: [{}] }, "tools[0].type"],
        [{ tools: [{ type: "custom", custom: { name: "x" } }] }, "tools[0].type"],
        [{ tools: [{ type: "function" }] }, "tools[0].function"],
        [{ tools: [...f(), { type: "function", function: {} }] }, "tools[1].function.name"],
        [{ tools: f({ name: "a b" }) }, "tools[0].function.name"],
        [{ tools: f({ name: "x".repeat(129) }) }, "tools[0].function.name"],
        [{ tools: [...f(), ...f()] }, "tools[1].function.name"],
        [{ tools: f({ parameters: [] }) }, "tools[0].function.parameters"],
        [{ tools: f({ strict: 1 }) }, "strict"],
        [{ tools: f({ parameters: { type: "object", properties: { a: { $ref: "#/x" } } } }) },
            "tools[0].function.parameters.properties.a.$ref"],
        [{ tool_choice: "all" }, "tool_choice"],
        [{ tool_choice: 5 }, "tool_choice"],
        [{ tool_choice: { type: "x" } }, "tool_choice.type"],
        [{ tool_choice: { type: "function", function: { name: "nobody" } } }, "tool_choice.function"],
        [{ tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } } },
            "tool_choice.allowed_tools.tools"],
        [{ tools: undefined, tool_choice: "required" }, "tool_choice"],
        [{ functions: [{ name: "f" }] }, "functions"],
        [{ function_call: { name: "f" } }, "function_call"],
        [{ parallel_tool_calls: "no" }, "parallel_tool_calls"],
        [{ guided_regex: "a+" }, "guided_regex"],
        [{ reasoning_format: "loud" }, "reasoning_format"],
    ];

    for (const [more, param] of cases) {
        const e = await failure(create(more));
        assert.deepEqual([e.status, e.param], [400, param], `${JSON.stringify(more)}: ${e.message}`);
    }
});

test("a schema that no grammar follows is any object where no call is asked for", async () => {
    const parameters = { type: "object", properties: { a: { $ref: "#/nowhere" } } };
    const answer = await create({ tool_choice: "auto", max_tokens: 8,
        tools: [{ type: "function", function: { name: "f", parameters } }] });

    assert.ok(answer.choices[0].message);
    const e = await failure(create({ tool_choice: "auto", tools: [{ type: "function",
        function: { name: "f", strict: true, parameters } }] }));
    assert.deepEqual([e.status, e.param], [400, "tools[0].function.parameters.properties.a.$ref"]);
});

test("every format holds a call that is required to its schema", async () => {
    const formats = ["hermes", "mistral", "mistral-args", "deepseek", "deepseek-r1", "qwen3-coder", "glm", "seed-oss",
        "minimax", "harmony", "phi-4-mini", "granite", "functionary", "llama4-pythonic", "llama3-pythonic", "llama3-json"];

    for (const format of formats) {
        const other = await startDaemon("--tool-format", format);
        const theirs = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: "none", maxRetries: 0 });

        for (let seed = 0; seed < 2; seed++) {
            const body = { model, messages, seed, temperature: 1.5, max_tokens: 600, tool_choice: "required",
                parallel_tool_calls: false, tools: [add] };
            const [choice] = (await theirs.chat.completions.create(body)).choices;

            assert.equal(choice.finish_reason, "tool_calls", format);
            assert.equal(choice.message.tool_calls.length, 1, format);
            assert.ok(valid.add(JSON.parse(choice.message.tool_calls[0].function.arguments)),
                `${format} ${JSON.stringify(choice.message)}`);
            if (format.startsWith("mistral")) assert.match(choice.message.tool_calls[0].id, /^[A-Za-z0-9]{9}$/);
        }
        assert.deepEqual(await other.stop(), { code: 0, signal: null });
    }
});

// A template that opens thoughts itself: all that comes before its mark is thought.
test("thoughts that the template opens are told apart, and counted", async () => {
    const template = "{% for m in messages %}{{ m.content }}\n{% endfor %}<think>\n{# </think> #}";
    const other = await startDaemon("--chat-template", newFile(template, "think.jinja"));
    const theirs = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: "none", maxRetries: 0 });
    const body = { model, messages, max_tokens: 16, temperature: 0 };
    const split = await theirs.chat.completions.create(body);
    const whole = await theirs.chat.completions.create({ ...body, reasoning_format: "none" });
    const hidden = await theirs.chat.completions.create({ ...body, include_reasoning: false });
    const { message } = split.choices[0];
    let thoughts = "";

    for await (const chunk of await theirs.chat.completions.create({ ...body, stream: true }))
        thoughts += chunk.choices[0]?.delta.reasoning_content ?? "";
    assert.ok(message.reasoning_content.length > 0);
    assert.equal(message.content, "");
    assert.equal(thoughts, message.reasoning_content);
    assert.equal(split.usage.completion_tokens_details.reasoning_tokens, split.usage.completion_tokens);
    assert.equal(whole.choices[0].message.content.trim(), message.reasoning_content);
    assert.equal(whole.choices[0].message.reasoning_content, undefined);
    assert.equal(hidden.choices[0].message.reasoning_content, undefined);
    assert.deepEqual(await other.stop(), { code: 0, signal: null });
});
