// client.mjs - plays a Load against any server that speaks OpenAI's chat over HTTP.
import http from "node:http";

import { LONGEST, random } from "./load.mjs";

const MAX_TOKENS = 32;
const agent = new http.Agent({ maxSockets: 1024 }); // a connection each: nobody closes a reused one under us

// One streamed answer: { text, usage, first } with the ms to the first text.
function stream({ url, model }, messages) {
    const body = JSON.stringify({ model, messages, max_tokens: MAX_TOKENS,
        temperature: 0, stream: true, stream_options: { include_usage: true } });
    const began = performance.now();
    const answer = { text: "", usage: null, first: null, cached: 0 };

    return new Promise((resolve, reject) => {
        const request = http.request(`${url}/v1/chat/completions`, { agent, method: "POST",
            headers: { "content-type": "application/json",
                "content-length": Buffer.byteLength(body) } }, (response) => {
            let rest = "";

            response.setEncoding("utf8");
            response.on("data", (part) => {
                const lines = (rest + part).split("\n");
                rest = lines.pop();
                for (const line of lines) read(answer, line, began);
            });
            response.on("error", reject);
            response.on("end", () => {
                if (response.statusCode === 200 && answer.usage) resolve(answer);
                else reject(new Error(`${response.statusCode} ${rest}`));
            });
        });
        request.on("error", reject);
        request.end(body);
    });
}

function read(answer, line, began) {
    if (!line.startsWith("data: {")) return;
    const event = JSON.parse(line.slice(6));
    const choice = event.choices?.[0];
    const text = choice?.delta?.content ?? "";

    if (answer.first === null && (text || choice?.finish_reason))
        answer.first = performance.now() - began;
    answer.text += text;
    if (!event.usage) return;
    answer.usage = event.usage;
    answer.cached = event.usage.prompt_tokens_details?.cached_tokens ?? event.timings?.cache_n ?? 0;
}

// One turn of one user, after the one before. A history that is too long starts anew.
async function visit(server, load, user, note) {
    load.speak(user);
    const counts = !user.fresh;
    const answer = await stream(server, user.messages);

    hear(load, user, answer);
    if (note) note(answer, counts);
}

function hear(load, user, answer) {
    user.fresh = false;
    user.messages.push({ role: "assistant", content: answer.text });
    if (answer.usage.total_tokens > LONGEST) load.renew(user);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sorted = (list) => [...list].sort((a, b) => a - b);
const quantile = (list, q) => list[Math.min(list.length - 1, Math.floor(q * list.length))] ?? null;

// Every user's first visit; returns what each was answered. Those that `told` answers (the map of a
// server before) are not asked: for users whose contexts the ones after them have long driven out.
export async function fill(server, load, { atOnce = 8, told = new Map() } = {}) {
    const queue = [...load.order], answers = new Map(told);
    const worker = async () => {
        while (queue.length) {
            const user = queue.shift();
            if (told.has(user.number)) {
                load.speak(user);
                hear(load, user, told.get(user.number));
            }
            else await visit(server, load, user, (answer) => answers.set(user.number, answer));
        }
    };

    await Promise.all(Array.from({ length: atOnce }, worker));
    return answers;
}

// So many turns: `rate` of them a second by Poisson, or `atOnce` at any time where rate is 0.
export async function play(server, load, { turns, rate = 0, atOnce = 8, seed = 1, say = null }) {
    const draw = random(seed * 7919 + 17);
    const sum = { turns: 0, counted: 0, prompt: 0, cached: 0, completion: 0, failed: 0 };
    const times = [], busy = new Map(), began = performance.now();
    const note = (answer, counts) => {
        sum.turns++;
        sum.completion += answer.usage.completion_tokens;
        if (!counts) return;
        sum.counted++;
        sum.prompt += answer.usage.prompt_tokens;
        sum.cached += answer.cached;
        times.push(answer.first);
        if (say && times.length % 250 === 0) say(figures());
    };
    const figures = () => {
        const seconds = (performance.now() - began) / 1000, list = sorted(times);

        return { rate, ...sum, seconds, cached_share: sum.cached / sum.prompt,
            ttft_p50_ms: quantile(list, 0.5), ttft_p95_ms: quantile(list, 0.95),
            turns_per_second: sum.turns / seconds, tokens_per_second: sum.completion / seconds };
    };
    const start = (user) => {
        const turn = (busy.get(user) ?? Promise.resolve())
            .then(() => visit(server, load, user, note))
            .catch((e) => {
                if (!sum.failed++) console.error(`${server.url}: ${e.message}`);
                load.renew(user);
            });
        busy.set(user, turn);
        return turn;
    };
    let left = turns;

    if (rate) {
        let due = 0;
        for (; left > 0; left--) {
            due += -Math.log(1 - draw()) / rate * 1000;
            await sleep(Math.max(0, due - (performance.now() - began)));
            start(load.next());
        }
        await Promise.all(busy.values());
    } else {
        await Promise.all(Array.from({ length: atOnce }, async () => {
            while (left-- > 0) await start(load.next());
        }));
    }
    return figures();
}
