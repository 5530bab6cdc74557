// list.mjs - the chat templates of a package's table as JSON, [name, template] each, none twice.
//
//   node list.mjs chat-template-automap.ts
import { readFileSync } from "node:fs";

const source = readFileSync(process.argv[2], "utf8");
const from = source.indexOf("= [") + 2;
const rows = Function(`return ${source.slice(from, source.lastIndexOf("]") + 1)}`)();
const names = new Map();
for (const row of rows) if (row.gguf && !names.has(row.gguf)) names.set(row.gguf, row.model);
console.log(JSON.stringify([...names].map(([template, name]) => [name, template])));
