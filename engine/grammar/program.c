/* program.c - what a grammar needs to be run, taken at once: no step allocates. */
#include "engine/grammar/program.h"

#include <stdlib.h>

static void destroy(program *p)
{
    states_close(p->states);
    grammar_free(p->grammar);
    free(p->at);
    free(p);
}

/* The grammar is its own from the beginning, so that one thing is freed whatever fails. */
err program_new(program **out, grammar *g, const token_tree *v)
{
    program *p = calloc(1, sizeof *p);
    err e = ERR_NOMEM;

    if (!p) {
        grammar_free(g);
        return e;
    }
    p->grammar = g;
    p->tree = v;
    atomic_init(&p->holders, 1);
    p->at = malloc((v->longest + 1) * sizeof *p->at);
    if (p->at) e = states_open(&p->states, g, v->words);
    if (e == ERR_OK)
        *out = p;
    else
        destroy(p);
    return e;
}

program *program_hold(program *p)
{
    if (p) atomic_fetch_add(&p->holders, 1);
    return p;
}

void program_free(program *p)
{
    if (p && atomic_fetch_sub(&p->holders, 1) == 1) destroy(p);
}

size_t program_shortest(const program *p)
{
    return grammar_shortest(p->grammar);
}

size_t program_bytes(const program *p)
{
    const nfa *a = p->grammar->nfa;
    const size_t node = sizeof *a->first + sizeof *p->grammar->cost +
                        sizeof *p->grammar->depth + 1;

    return states_bytes(p->states) + sizeof *p + p->tree->longest * sizeof *p->at +
           a->room_nodes * node + a->room_edges * sizeof *a->edges +
           a->room_rules * sizeof *a->rules;
}
