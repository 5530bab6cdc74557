/* guides.c - compiled guides, found by their text, the last used first.
 *
 * A lock guards the list and nothing else: compiling happens outside of it, so that a large
 * schema of one client delays no other. Two who compile the same at once both do; the second
 * takes what the first has put there. The tree of the vocabulary is made when somebody first
 * wants a guide: most servers are never asked for one. */
#include "server/schema/guides.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct kept {
    struct kept *next;
    char *text; /* of the guide's value; owned */
    guide_kind kind;
    program *program;
} kept;

struct guides {
    const tokenizer *tokens;
    pthread_mutex_t lock;
    token_tree *tree; /* NULL until it is wanted */
    kept *first;
    size_t n, bytes;
};

err guides_open(guides **out, const tokenizer *t)
{
    guides *all = calloc(1, sizeof *all);

    if (!all) return ERR_NOMEM;
    all->tokens = t;
    if (pthread_mutex_init(&all->lock, NULL)) {
        free(all);
        return ERR_NOMEM;
    }
    *out = all;
    return ERR_OK;
}

static void free_kept(kept *k)
{
    program_free(k->program);
    free(k->text);
    free(k);
}

void guides_close(guides *all)
{
    if (!all) return;
    while (all->first) {
        kept *k = all->first;

        all->first = k->next;
        free_kept(k);
    }
    token_tree_free(all->tree);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* Move to the front what is found. Under the lock. */
static kept *find(guides *all, guide_kind kind, const char *text)
{
    for (kept **at = &all->first; *at; at = &(*at)->next) {
        kept *k = *at;

        if (k->kind != kind || strcmp(k->text, text) != 0) continue;
        *at = k->next;
        k->next = all->first;
        return all->first = k;
    }
    return NULL;
}

/* The last ones go, until all is within the bounds; what still runs is held elsewhere. */
static void shrink(guides *all)
{
    while (all->n > GUIDES_KEPT || (all->n > 1 && all->bytes > GUIDES_BYTES)) {
        kept **at = &all->first;

        while ((*at)->next) at = &(*at)->next;
        all->n--;
        all->bytes -= program_bytes((*at)->program);
        free_kept(*at);
        *at = NULL;
    }
}

/* Keep p, unless another was faster; returns the one that is kept. Takes text and p. */
static program *keep(guides *all, guide_kind kind, char *text, program *p)
{
    kept *k, *new = malloc(sizeof *new);

    pthread_mutex_lock(&all->lock);
    k = find(all, kind, text);
    if (!k && new) {
        *new = (kept){all->first, text, kind, program_hold(p)};
        all->first = new;
        all->n++;
        all->bytes += program_bytes(p);
        shrink(all);
        text = NULL;
        new = NULL;
    } else if (k) {
        program_free(p);
        p = program_hold(k->program);
    }
    pthread_mutex_unlock(&all->lock);
    free(new);
    free(text);
    return p;
}

static err find_tree(guides *all, const token_tree **out)
{
    err e = ERR_OK;

    pthread_mutex_lock(&all->lock);
    if (!all->tree) e = token_tree_open(&all->tree, all->tokens);
    *out = all->tree;
    pthread_mutex_unlock(&all->lock);
    return e;
}

static program *find_kept(guides *all, guide_kind kind, const char *text)
{
    program *p = NULL;
    const kept *k;

    pthread_mutex_lock(&all->lock);
    k = find(all, kind, text);
    if (k) p = program_hold(k->program);
    pthread_mutex_unlock(&all->lock);
    return p;
}

bool guides_find(guides *all, const guide *g, program **out, fault *why)
{
    char *text = g->value ? cJSON_PrintUnformatted(g->value) : strdup("");
    const token_tree *v;
    grammar *made;
    err e = text ? find_tree(all, &v) : ERR_NOMEM;

    if (e == ERR_OK && (*out = find_kept(all, g->kind, text))) {
        free(text);
        return true;
    }
    if (e == ERR_OK && !guide_compile(&made, g, v->single, why)) {
        free(text);
        return false;
    }
    if (e == ERR_OK) e = program_new(out, made, v);
    if (e != ERR_OK) {
        free(text);
        return fault_fail(why, e);
    }
    *out = keep(all, g->kind, text, *out);
    return true;
}

size_t guides_kept(guides *all)
{
    size_t n;

    pthread_mutex_lock(&all->lock);
    n = all->n;
    pthread_mutex_unlock(&all->lock);
    return n;
}
