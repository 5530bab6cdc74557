// dialogues.mjs - conversations as a stock client has them: how much of the turn before is cached?
//
//   node tests/bench/dialogues.mjs DIALOGUES.jsonl [COUNT [MAX_TOKENS [SERVE OPTION...]]]
//
// The user messages of each line's dialogue, turn by turn, eight dialogues at a time, each with a
// session id; the server's own reply goes back as it came. Of a turn, the tokens in sealed blocks
// (all full ones of its prompt and answer but the last token) should be cached at the next; turns
// before the first such block do not count. Prints JSON; fails below 98 %.
import { readFileSync } from "node:fs";

import { chat, startDaemon } from "../api/daemon.mjs";

const [file, count = "500", maxTokens = "48", ...options] = process.argv.slice(2);
const AT_ONCE = 8, BLOCK = 128, LEAST = 0.98;
const dialogues = readFileSync(file, "utf8").split("\n").filter(Boolean).slice(0, Number(count))
    .map((line) => JSON.parse(line).messages.filter((m) => m.role === "user"));
let daemon;
process.on("exit", () => daemon?.child.kill("SIGTERM")); // after an error too
daemon = await startDaemon("--max-running", String(AT_ONCE), ...options);
const sum = { dialogues: dialogues.length, turns: 0, counted: 0, sealed: 0, cached: 0,
    whole: 0, too_long: 0 };

async function replay(number) {
    const messages = [];
    let sealed = 0;

    for (const message of dialogues[number]) {
        messages.push(message);
        const answer = await chat(daemon, { messages, max_tokens: Number(maxTokens),
            temperature: 1, seed: number, session_id: `dialogue-${number}` });

        if (answer.json?.error?.code === "context_length_exceeded") {
            sum.too_long++;
            return;
        }
        if (answer.status !== 200) throw new Error(answer.text);
        const usage = answer.json.usage;
        const cached = Math.min(usage.prompt_tokens_details.cached_tokens, sealed);

        sum.turns++;
        sum.counted += sealed > 0;
        sum.sealed += sealed;
        sum.cached += cached;
        sum.whole += sealed > 0 && cached === sealed;
        sealed = Math.floor((usage.prompt_tokens + usage.completion_tokens - 1) / BLOCK) * BLOCK;
        messages.push({ role: "assistant", content: answer.json.choices[0].message.content });
    }
}

let next = 0;
const worker = async () => {
    while (next < dialogues.length) await replay(next++);
};
const start = Date.now();
await Promise.all(Array.from({ length: AT_ONCE }, worker));
sum.seconds = (Date.now() - start) / 1000;
sum.share = sum.cached / sum.sealed;
console.log(JSON.stringify(sum));
await daemon.stop();
process.exitCode = sum.share >= LEAST ? 0 : 1;
