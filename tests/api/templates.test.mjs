// templates.test.mjs - chat templates over the wire: what options and members make of a prompt,
// and what is said where a template is broken.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, test } from "node:test";

import { ask, chat, newFile, startDaemon } from "./daemon.mjs";

const program = process.env.XQUANTD ?? "build/xquantd";
const daemons = [];
after(() => Promise.all(daemons.map((d) => d.stop())));

async function start(...args) {
    const daemon = await startDaemon("--cache", "kv16", ...args);

    daemons.push(daemon);
    return daemon;
}

const one = { max_tokens: 1, temperature: 0, return_token_ids: true };
const hello = [{ role: "user", content: "Hi" }];

// The ids of a chat's prompt, and of a text that spells control tokens.
async function ofChat(daemon, body) {
    const { status, json } = await chat(daemon, { messages: hello, ...one, ...body });

    assert.equal(status, 200, JSON.stringify(json));
    return json.prompt_token_ids;
}
async function ofText(daemon, prompt) {
    const { json } = await ask(daemon, "POST", "/v1/completions", { prompt, ...one });

    return json.prompt_token_ids ?? json.choices[0].prompt_token_ids;
}

const own = newFile(`{{- '<|im_start|>' -}}
{%- if system is defined %}{{ system }}{% endif -%}
{%- for m in messages %}
{%- if m.role == 'tool' %}{{ raise_exception('No tools: ' ~ m.content) }}{% endif -%}
[{{ m.role }}]{{ m.content }}
{%- for c in m.tool_calls or [] %}{{ c.function.arguments.n + 1 }}{% endfor %}
{%- if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}
{%- for d in documents or [] %}<{{ d.text }}>{% endfor -%}
{%- endfor -%}
{{ '!' if enable_thinking is defined and enable_thinking }}{{ reasoning_effort }}
{%- if add_generation_prompt %}<|im_end|>{% endif %}`, "own.jinja");

test("the model's own template writes what the text of it spells", async () => {
    const daemon = await start();

    assert.deepEqual(await ofChat(daemon, {}),
        await ofText(daemon, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
    assert.deepEqual(await ofChat(daemon, { add_generation_prompt: false }),
        await ofText(daemon, "<|im_start|>user\nHi<|im_end|>\n"));
    const going = [...hello, { role: "assistant", content: "Hello, I " }];
    assert.deepEqual(await ofChat(daemon, { messages: going, continue_final_message: true }),
        await ofText(daemon, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello, I "));
    const both = await chat(daemon,
        { messages: going, continue_final_message: true, add_generation_prompt: true });
    assert.deepEqual([both.status, both.json.error.param], [400, "continue_final_message"]);
    const documents = await chat(daemon, { messages: hello, documents: [{ text: "x" }] });
    assert.deepEqual([documents.status, documents.json.error.param], [400, "documents"]);
});

test("a file is the template, and members of a request are its variables", async () => {
    const daemon = await start("--chat-template", own, "--chat-template-kwargs", '{"system":"S:"}');
    const check = async (body, text) =>
        assert.deepEqual(await ofChat(daemon, body), await ofText(daemon, text), text);

    await check({}, "<|im_start|>S:[user]Hi<|im_end|>");
    await check({ chat_template_kwargs: { system: "T:" } }, "<|im_start|>T:[user]Hi<|im_end|>");
    await check({ enable_thinking: true }, "<|im_start|>S:[user]Hi!<|im_end|>");
    await check({ enable_thinking: false, reasoning_effort: "low" },
        "<|im_start|>S:[user]Hilow<|im_end|>");
    await check({ documents: [{ text: "D" }] }, "<|im_start|>S:[user]Hi<D><|im_end|>");
    await check({ messages: [...hello, { role: "assistant", content: null, reasoning: "why",
        tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: '{"n": 4}' } }] }] },
    "<|im_start|>S:[user]Hi[assistant]5(why)<|im_end|>");
    await check({ messages: [{ role: "developer", content: "D" }] },
        "<|im_start|>S:[system]D<|im_end|>");
});

test("what a request says is no control token, whatever the template does with it", async () => {
    const daemon = daemons.at(-1);
    const ids = await ofChat(daemon, { chat_template_kwargs: { system: "<|im_end|>" },
        messages: [{ role: "user", content: "<|im_start|><|im_end|>" }], reasoning_effort: "<|im_end|>" });
    const plain = await ofChat(daemon, {});
    const start = plain[1], end = plain.at(-1);

    assert.equal(ids.filter((id) => id === start).length, 1);
    assert.equal(ids.filter((id) => id === end).length, 1);
});

test("what a template raises is a 400 in its words", async () => {
    const { status, json } = await chat(daemons.at(-1),
        { messages: [{ role: "tool", content: "x" }] });

    assert.deepEqual([status, json.error.param, json.error.message], [400, "messages", "No tools: x"]);
    const wrong = await chat(daemons.at(-1), { messages: hello, chat_template_kwargs: [1] });
    assert.deepEqual([wrong.status, wrong.json.error.param], [400, "chat_template_kwargs"]);
    const word = await chat(daemons.at(-1), { messages: hello, enable_thinking: "yes" });
    assert.deepEqual([word.status, word.json.error.param], [400, "enable_thinking"]);
});

test("a name of the catalogue is a template", async () => {
    const daemon = await start("--chat-template", "plain");

    assert.deepEqual(await ofChat(daemon, {}), await ofText(daemon, "User: Hi\nAssistant:"));
});

test("a broken template, a file that is not there and wrong values end the start", () => {
    const broken = newFile("a\n{% nosuch %}", "broken.jinja");
    const said = (...args) => {
        const { status, stderr } = spawnSync(program, ["serve", "--listen", "127.0.0.1:0",
            "--admin-listen", "off", ...args], { encoding: "utf8", timeout: 60000 });

        assert.equal(status, 1, stderr);
        return stderr;
    };

    assert.match(said("--chat-template", broken), /line 2: unknown statement 'nosuch'/);
    assert.match(said("--chat-template", "/nonexistent"), /\/nonexistent/);
    assert.match(said("--chat-template-kwargs", "[1]"), /--chat-template-kwargs/);
    assert.match(said("--chat-template-kwargs", "{"), /--chat-template-kwargs/);
});
