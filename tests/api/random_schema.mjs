// random_schema.mjs - random JSON schemas: nested, with unions and recursion, each with a document.

// splitmix32: the same schemas for a seed, everywhere.
export function generator(seed) {
    let state = seed >>> 0;
    const next = () => {
        state = (state + 0x9e3779b9) >>> 0;
        let z = state;
        z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
        z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
        return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
    };
    return { next, below: (n) => Math.floor(next() * n), pick: (list) => list[Math.floor(next() * list.length)] };
}

const names = ["id", "name", "Größe", "a b", "x_1", "items", "next", "quote\"d", "tags", "value", "émile", "n"];
const scalars = [
    () => ({ type: "boolean" }),
    () => ({ type: "null" }),
    (r) => ({ type: "integer", minimum: r.below(200) - 100, maximum: 100 + r.below(5000) }),
    () => ({ type: "integer" }),
    () => ({ type: "number" }),
    (r) => ({ type: "number", minimum: r.below(40) / 8 - 2, exclusiveMaximum: 7 + r.below(9) / 2 }),
    (r) => ({ type: "string", maxLength: 1 + r.below(12) }),
    (r) => ({ type: "string", minLength: r.below(3), maxLength: 3 + r.below(9) }),
    () => ({ type: "string", pattern: "^[A-Z][a-z]{1,6}( [0-9]+)?$" }),
    (r) => ({ type: "string", format: r.pick(["date", "time", "date-time", "uuid", "ipv4", "email"]) }),
    (r) => ({ enum: r.pick([["red", "green", "blue"], [1, "one", null], ["", "a\nb"]]) }),
    (r) => ({ const: r.pick(["x", 3.5, false, [1, 2], { a: null }]) }),
];

function object(r, depth) {
    const schema = { type: "object", properties: {}, required: [], additionalProperties: false };
    const count = 1 + r.below(3);

    for (let i = 0; i < count; i++) {
        const name = r.pick(names);
        schema.properties[name] = node(r, depth - 1);
        if (r.next() < 0.6 && !schema.required.includes(name)) schema.required.push(name);
    }
    if (r.next() < 0.15) schema.additionalProperties = r.pick([{ type: "integer" }, { enum: ["y"] }]);
    return schema;
}

function node(r, depth) {
    if (depth <= 0) return r.pick(scalars)(r);
    switch (r.below(7)) {
    case 0: case 1: case 2: return object(r, depth);
    case 3: return { type: "array", items: node(r, depth - 1), minItems: r.below(2), maxItems: 2 + r.below(3) };
    case 4: return { anyOf: [node(r, depth - 1), node(r, depth - 1), { type: "null" }] };
    case 5: return { $ref: "#/$defs/tree" };
    default: return { type: "array", prefixItems: [node(r, depth - 1), node(r, depth - 2)],
        items: false, minItems: 2 };
    }
}

// Always at least four levels deep, with a recursion and a union.
export function randomSchema(seed) {
    const r = generator(seed);
    const root = object(r, 4);

    root.properties.deep = { type: "object", additionalProperties: false, required: ["list"],
        properties: { list: { type: "array", maxItems: 2, items: { anyOf: [object(r, 2), { $ref: "#/$defs/tree" }] } } } };
    if (r.next() < 0.5) root.required.push("deep");
    root.$defs = { tree: { type: "object", additionalProperties: false, required: ["leaf", "kids"],
        properties: { leaf: node(r, 0), kids: { anyOf: [
            { type: "array", maxItems: 2, items: { $ref: "#/$defs/tree" } }, { type: "null" }] } } } };
    return root;
}
