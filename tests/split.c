/* split.c - writes the tiny model as two files, valid or spoiled by a row of bad_split.def. */
#include "tests/split.h"

#include <stdlib.h>
#include <string.h>

/* Only tensors first .. last-1 are described; the data stay whole. */
static void keep_tensors(tiny *m, size_t first, size_t last)
{
    memmove(m->tensor, m->tensor + first, (last - first) * sizeof m->tensor[0]);
    m->tensors = m->n_tensors = last - first;
}

static void set_split(tiny *m, uint32_t no, size_t tensors)
{
    tiny_set_u32(m, "split.no", no);
    tiny_set_u32(m, "split.count", SPLIT_FILES);
    tiny_set_u32(m, "split.tensors.count", (uint32_t)tensors);
}

split_pair split_new(void)
{
    split_pair p = {{tiny_new(), tiny_new()}};
    const size_t tensors = p.part[0]->tensors;

    while (p.part[1]->keys) tiny_remove(p.part[1], p.part[1]->key[0].name);
    keep_tensors(p.part[0], 0, tensors / 2);
    keep_tensors(p.part[1], tensors / 2, tensors);
    for (uint32_t no = 0; no < SPLIT_FILES; no++) set_split(p.part[no], no, tensors);
    return p;
}

void split_free(split_pair *p)
{
    for (int no = 0; no < SPLIT_FILES; no++) tiny_free(p->part[no]);
}

unsigned char *split_write(const split_pair *p, int no, size_t *n)
{
    *n = 0;
    return p->part[no]->keep == SPLIT_ABSENT ? NULL : tiny_write(p->part[no], n, NULL, NULL);
}

static size_t tiny_bytes(const tiny *m)
{
    size_t n;

    free(tiny_write(m, &n, NULL, NULL));
    return n;
}

#define BAD(stage, name, file, field, edit)    \
    static void spoil_##name(tiny *a, tiny *b) \
    {                                          \
        (void)a;                               \
        (void)b;                               \
        edit;                                  \
    }
#include "tests/bad_split.def"
#undef BAD

const bad_split *bad_split_at(size_t i)
{
    static const bad_split cases[] = {
#define BAD(stage, name, file, field, edit) {BAD_##stage, #name, file, field, spoil_##name},
#include "tests/bad_split.def"
#undef BAD
    };

    return i < sizeof cases / sizeof cases[0] ? &cases[i] : NULL;
}
