// cases.mjs - the table: every case of every kind, as {name, script, expected, holds, ...}.
import bodies from "./bodies.mjs";
import chunks from "./chunks.mjs";
import headers from "./headers.mjs";
import lines from "./lines.mjs";
import paths from "./paths.mjs";
import phases from "./phases.mjs";

const isOptions = (value) => value.constructor === Object && !("status" in value);

function read([name, ...rest]) {
    const how = isOptions(rest[0]) ? rest.shift() : {};
    const [script, expected, holds] = rest;

    return { name, clients: 1, slow: false, ...how, script: [script].flat(), expected, holds };
}

export default [...lines, ...headers, ...chunks, ...bodies, ...paths, ...phases].map(read);
