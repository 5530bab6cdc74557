// canaries.mjs - twenty thousand requests of fifty tenants with secrets, on a pool of 10 to 25 blocks.
//
//   node tests/bench/canaries.mjs [REQUESTS]
//
// tests/api/canaries/canaries.mjs says what they do and what is looked at. Three servers in turn: one
// as usual, one that rebuilds keys and values in every step, and one that degrades blocks before it
// evicts them. Prints JSON; fails if anything of one tenant was seen by another, or where there was
// nothing to be seen: too few hits, secrets, evictions,
// answers to compare. Where blocks are degraded most answers are near and not equal, for the blocks of
// first prompts are degraded early and read ever after; of both kinds there must be many then.
import { copyFileSync } from "node:fs";
import { join } from "node:path";

import { newFolder } from "../api/daemon.mjs";
import { makeTenants, runCanaries } from "../api/canaries/canaries.mjs";
import { TENANTS } from "../api/canaries/questions.mjs";

const requests = Number(process.argv[2] ?? 20000);
const model = join(newFolder(), "model.gguf");
const mode = ["--model", model, "--cache", "klt16", "--block-tokens", "64", "--ctx-size", "512"];

copyFileSync("models/seedling-32m-mha-q8_0.gguf", model);
const start = Date.now();
const seconds = () => (Date.now() - start) / 1000;
const rounds = [
    { name: "usual", share: 0.6, options: ["--cache-size", "2560KiB"] },
    { name: "degrading", share: 0.2, options: ["--cache-size", "1MiB", "--degrade"], degraded: true },
    { name: "streaming", share: 0.2, options: ["--cache-size", "2MiB"], path: ["--workspace-size", "0"] },
];
let good = true;
let tenants;
const result = { tenants: TENANTS };

for (const { name, share, options, degraded, path = [] } of rounds) {
    // pages are int8, what is rebuilt in a step is not: another path, other answers
    if (!tenants || path.length) tenants = await makeTenants(TENANTS, 2, [...mode, ...path]);
    const seen = await runCanaries(tenants, { requests: share * requests, clients: 12, degraded,
        options: [...mode, ...path, ...options] });

    good &&= !seen.faults.length && seen.end.code === 0 && seen.hits > 0.1 * seen.requests &&
        seen.told > 0.1 * seen.requests && seen.evictions > 0.1 * seen.requests &&
        seen.equal > 0.1 * seen.requests &&
        (!degraded || (seen.near > 0.1 * seen.requests && seen.degraded > 0.02 * seen.requests));
    result[name] = { ...seen, seconds: seconds() };
}
console.log(JSON.stringify({ ...result, good }, null, 1));
process.exitCode = good ? 0 : 1;
