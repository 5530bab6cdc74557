/* jinja_value.c - lists, dicts, and Python's comparisons.
 *
 * A dict keeps the order in which keys came. Few keys are looked through; from FEW on an open
 * hash table finds them, since a request may bring any number:
 *
 *   slots  [ 0 | 2 | 0 | 1 | 3 | 0 ]     1 + the entry's number, by hash; 0: empty
 *   at     [ a: 1 | b: 2 | c: 3 ]        entries, in order */
#include "engine/template/jinja_value.h"

#include <math.h>
#include <string.h>

enum { FEW = 8, DEEPEST = 300 /* levels that are compared or hashed */, MOST = 10000000 };

/* How far a comparison has come. Lists that hold one list twice, again and again, have more
 * elements than any time is enough for. */
typedef struct walk {
    int depth;
    size_t seen;
} walk;

static bool goes_on(walk *w)
{
    return w->depth <= DEEPEST && w->seen++ <= MOST;
}

err jinja_make_text(jinja_arena *a, const char *bytes, size_t n, bool trusted, jinja_value *out)
{
    jinja_text t;

    TRY(jinja_text_borrow(a, bytes, n, trusted, &t));
    *out = jinja_of_text(t);
    return ERR_OK;
}

/* --- lists --- */

err jinja_make_list(jinja_arena *a, jinja_form form, size_t room, jinja_value *out)
{
    jinja_list *l = jinja_arena_take(a, sizeof *l);

    if (!l || room > SIZE_MAX / sizeof *l->at) return ERR_NOMEM;
    l->form = form;
    l->cap = room;
    l->at = room ? jinja_arena_take(a, room * sizeof *l->at) : NULL;
    if (room && !l->at) return ERR_NOMEM;
    *out = (jinja_value){.type = JINJA_LIST, .is.list = l};
    return ERR_OK;
}

err jinja_list_add(jinja_arena *a, jinja_list *list, jinja_value v)
{
    if (list->n == list->cap) {
        const size_t cap = list->cap ? 2 * list->cap : 4;
        jinja_value *at = jinja_arena_take(a, cap * sizeof *at);

        if (!at) return ERR_NOMEM;
        if (list->n) memcpy(at, list->at, list->n * sizeof *at);
        list->at = at;
        list->cap = cap;
    }
    list->at[list->n++] = v;
    return ERR_OK;
}

/* --- hashes --- */

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < n; i++) h = (h ^ at[i]) * 0x100000001b3u;
    return h;
}

/* Equal numbers hash alike, of whatever type. */
static uint64_t hash(jinja_value v, uint64_t h, walk *w)
{
    double real;

    if (!goes_on(w)) return h;
    switch (v.type) {
    case JINJA_TEXT:
        return hash_bytes(h, jinja_text_at(v.is.text), v.is.text.n);
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        real = jinja_as_double(v) + 0.0; /* -0 is 0 */
        return hash_bytes(h, &real, sizeof real);
    case JINJA_LIST:
    case JINJA_GROUP:
        w->depth++;
        for (size_t i = 0; i < v.is.list->n; i++) h = hash(v.is.list->at[i], h, w) * 31;
        w->depth--;
        return h;
    default:
        return h + (uint64_t)v.type;
    }
}

/* From where the dict lies, which no client knows: keys that all hash alike cannot be made up.
 */
static uint64_t hash_key(const jinja_dict *d, jinja_value key)
{
    walk w = {0};
    const uint64_t start = 0xcbf29ce484222325u ^ (uint64_t)(uintptr_t)d * 0x9e3779b97f4a7c15u;
    const uint64_t h = hash(key, start, &w);

    return h ^ h >> 32;
}

static bool hashable(jinja_value v, walk *w)
{
    bool good = true;

    if (v.type == JINJA_DICT || !goes_on(w)) return false;
    if (v.type != JINJA_LIST) return true;
    if (v.is.list->form != JINJA_TUPLE) return false;
    w->depth++;
    for (size_t i = 0; i < v.is.list->n && good; i++) good = hashable(v.is.list->at[i], w);
    w->depth--;
    return good;
}

bool jinja_hashable(jinja_value v)
{
    walk w = {0};

    return hashable(v, &w);
}

/* --- dicts --- */

err jinja_make_dict(jinja_arena *a, jinja_value *out)
{
    jinja_dict *d = jinja_arena_take(a, sizeof *d);

    if (!d) return ERR_NOMEM;
    *out = (jinja_value){.type = JINJA_DICT, .is.dict = d};
    return ERR_OK;
}

/* The slot that holds the key, or the empty one where it belongs. */
static uint32_t *find_slot(const jinja_dict *d, jinja_value key)
{
    const size_t mask = d->n_slots - 1;
    size_t i = hash_key(d, key) & mask;

    while (d->slots[i] && !jinja_equal(d->at[d->slots[i] - 1].key, key)) i = (i + 1) & mask;
    return &d->slots[i];
}

static jinja_entry *find_entry(const jinja_dict *d, jinja_value key)
{
    if (d->slots) {
        const uint32_t slot = *find_slot(d, key);

        return slot ? &d->at[slot - 1] : NULL;
    }
    for (size_t i = 0; i < d->n; i++)
        if (jinja_equal(d->at[i].key, key)) return &d->at[i];
    return NULL;
}

/* Twice the room, and at least twice as many slots as entries. */
static err grow(jinja_arena *a, jinja_dict *d)
{
    const size_t cap = d->cap ? 2 * d->cap : 4;
    jinja_entry *at = jinja_arena_take(a, cap * sizeof *at);

    if (!at || cap >= UINT32_MAX) return ERR_NOMEM;
    if (d->n) memcpy(at, d->at, d->n * sizeof *at);
    d->at = at;
    d->cap = cap;
    if (cap <= FEW) return ERR_OK;
    d->slots = jinja_arena_take(a, 2 * cap * sizeof *d->slots);
    if (!d->slots) return ERR_NOMEM;
    d->n_slots = 2 * cap;
    for (size_t i = 0; i < d->n; i++) *find_slot(d, d->at[i].key) = (uint32_t)i + 1;
    return ERR_OK;
}

err jinja_dict_set(jinja_arena *a, jinja_dict *d, jinja_value key, jinja_value v)
{
    jinja_entry *found = find_entry(d, key);

    if (found) {
        found->value = v;
        return ERR_OK;
    }
    if (d->n == d->cap) TRY(grow(a, d));
    d->at[d->n++] = (jinja_entry){key, v};
    if (d->slots) *find_slot(d, key) = (uint32_t)d->n;
    return ERR_OK;
}

err jinja_dict_put(jinja_arena *a, jinja_dict *d, const char *key, jinja_value v)
{
    jinja_value k;

    TRY(jinja_make_text(a, key, strlen(key), true, &k));
    return jinja_dict_set(a, d, k, v);
}

const jinja_value *jinja_dict_find(const jinja_dict *d, jinja_value key)
{
    const jinja_entry *found = find_entry(d, key);

    return found ? &found->value : NULL;
}

const jinja_value *jinja_dict_get(const jinja_dict *d, const char *key)
{
    jinja_buffer b = {.bytes = (char *)key, .n = strlen(key)};

    return jinja_dict_find(d, jinja_of_text(jinja_buffer_text(&b)));
}

/* --- what they are --- */

bool jinja_is_number(jinja_value v)
{
    return v.type == JINJA_BOOL || v.type == JINJA_INT || v.type == JINJA_FLOAT;
}

double jinja_as_double(jinja_value v)
{
    if (v.type == JINJA_FLOAT) return v.is.real;
    return v.type == JINJA_INT ? (double)v.is.number : v.is.truth;
}

bool jinja_truth(jinja_value v)
{
    switch (v.type) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        return jinja_as_double(v) != 0;
    case JINJA_TEXT:
        return v.is.text.n > 0;
    case JINJA_LIST:
        return v.is.list->n > 0 || v.is.list->form == JINJA_GENERATOR;
    case JINJA_DICT:
        return v.is.dict->n > 0;
    default:
        return true;
    }
}

const char *jinja_type_name(jinja_value v)
{
    static const char *const names[] = {
        [JINJA_ABSENT] = "NoneType",   [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "NoneType",     [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",           [JINJA_FLOAT] = "float",
        [JINJA_TEXT] = "str",          [JINJA_LIST] = "list",
        [JINJA_DICT] = "dict",         [JINJA_NAMESPACE] = "Namespace",
        [JINJA_FUNCTION] = "function", [JINJA_LOOP] = "LoopContext",
        [JINJA_CYCLER] = "Cycler",     [JINJA_JOINER] = "Joiner",
        [JINJA_GROUP] = "_GroupTuple",
    };
    static const char *const lists[] = {
        [JINJA_LIST_FORM] = "list",      [JINJA_TUPLE] = "tuple",
        [JINJA_RANGE] = "range",         [JINJA_KEYS] = "dict_keys",
        [JINJA_VALUES] = "dict_values",  [JINJA_ITEMS] = "dict_items",
        [JINJA_GENERATOR] = "generator",
    };

    return v.type == JINJA_LIST ? lists[v.is.list->form] : names[v.type];
}

/* --- comparisons --- */

static bool equal(jinja_value a, jinja_value b, walk *w);

static bool lists_equal(const jinja_list *a, const jinja_list *b, walk *w)
{
    bool same = true;

    if (a == b) return true;
    if (a->form != b->form || a->n != b->n || a->form >= JINJA_KEYS) return false;
    w->depth++;
    for (size_t i = 0; i < a->n && same; i++) same = equal(a->at[i], b->at[i], w);
    w->depth--;
    return same;
}

static bool dicts_equal(const jinja_dict *a, const jinja_dict *b, walk *w)
{
    bool same = true;

    if (a == b) return true;
    if (a->n != b->n) return false;
    w->depth++;
    for (size_t i = 0; i < a->n && same; i++) {
        const jinja_value *other = jinja_dict_find(b, a->at[i].key);

        same = other && equal(a->at[i].value, *other, w);
    }
    w->depth--;
    return same;
}

/* What only is what it is. */
static bool same_thing(jinja_value a, jinja_value b)
{
    switch (a.type) {
    case JINJA_NAMESPACE:
        return a.is.dict == b.is.dict;
    case JINJA_FUNCTION:
        return a.is.function == b.is.function;
    case JINJA_LOOP:
        return a.is.loop == b.is.loop;
    case JINJA_CYCLER:
    case JINJA_JOINER:
        return a.is.turns == b.is.turns;
    default: /* undefined equals undefined, none none */
        return true;
    }
}

/* Beyond what any request or template nests, values count as different. */
static bool equal(jinja_value a, jinja_value b, walk *w)
{
    if (!goes_on(w)) return false;
    if (a.type == JINJA_INT && b.type == JINJA_INT) return a.is.number == b.is.number;
    if (jinja_is_number(a) && jinja_is_number(b))
        return jinja_as_double(a) == jinja_as_double(b);
    if (a.type != b.type) return false;
    switch (a.type) {
    case JINJA_TEXT:
        return jinja_text_same(a.is.text, b.is.text);
    case JINJA_LIST:
    case JINJA_GROUP:
        return lists_equal(a.is.list, b.is.list, w);
    case JINJA_DICT:
        return dicts_equal(a.is.dict, b.is.dict, w);
    default:
        return same_thing(a, b);
    }
}

bool jinja_equal(jinja_value a, jinja_value b)
{
    walk w = {0};

    return equal(a, b, &w);
}

static bool compare(jinja_value a, jinja_value b, int *order, walk *w);

/* The first elements that differ decide. */
static bool compare_lists(const jinja_list *a, const jinja_list *b, int *order, walk *w)
{
    if (a->form != b->form || a->form > JINJA_TUPLE) return false;
    w->depth++;
    for (size_t i = 0; i < a->n && i < b->n; i++)
        if (!equal(a->at[i], b->at[i], w)) return compare(a->at[i], b->at[i], order, w);
    *order = a->n == b->n ? 0 : a->n < b->n ? -1 : 1;
    return true;
}

static bool compare(jinja_value a, jinja_value b, int *order, walk *w)
{
    if (!goes_on(w)) return false;
    if (a.type == JINJA_INT && b.type == JINJA_INT) {
        *order = (a.is.number > b.is.number) - (a.is.number < b.is.number);
        return true;
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        const double x = jinja_as_double(a), y = jinja_as_double(b);

        *order = (x > y) - (x < y);
        return true;
    }
    if (a.type == JINJA_TEXT && b.type == JINJA_TEXT) {
        *order = jinja_text_compare(a.is.text, b.is.text);
        return true;
    }
    if (a.type != b.type || (a.type != JINJA_LIST && a.type != JINJA_GROUP)) return false;
    return compare_lists(a.is.list, b.is.list, order, w);
}

bool jinja_compare(jinja_value a, jinja_value b, int *order)
{
    walk w = {0};

    return compare(a, b, order, &w);
}
