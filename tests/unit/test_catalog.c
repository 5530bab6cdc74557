/* test_catalog.c - the list of models by name, and what is no such list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/convert/catalog.h"
#include "server/document.h"
#include "tests/test.h"

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* A row whose column `at` is another text; at < 0: none. */
static char *row_with(int at, const char *text)
{
    const char *column[] = {"a-model", "chat", "MIT", "17", SHA, "a.gguf", "hf:a/b:c.gguf"};
    char *line;

    if (at >= 0) column[at] = text;
    if (asprintf(&line, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", column[0], column[1], column[2],
                 column[3], column[4], column[5], column[6]) < 0)
        abort();
    return line;
}

/* Is the text, which is taken, refused with the words? */
static bool refused(char *text, const char *words)
{
    char why[256] = "";
    catalog c;
    const bool read = catalog_parse(&c, text, strlen(text), why, sizeof why);
    const bool same = strcmp(why, words) == 0;

    if (!same) fprintf(stderr, "  %s\n", why);
    catalog_close(&c);
    return !read && same;
}

TEST(a_catalogue_has_its_rows_by_name)
{
    char *a = row_with(-1, ""), *b = row_with(0, "other"), *text, why[256];
    catalog c;

    CHECK(asprintf(&text, "# a comment\tof any form\n\n%s%s", a, b) > 0);
    CHECK(catalog_parse(&c, text, strlen(text), why, sizeof why));
    CHECK(c.n == 2 && catalog_find(&c, "a-model") == &c.rows[0]);
    CHECK(catalog_find(&c, "other") == &c.rows[1] && !catalog_find(&c, "a-mode"));
    CHECK(c.rows[0].bytes == 17 && c.rows[0].sha[0] == 0x01 && c.rows[0].sha[31] == 0xef);
    CHECK(strcmp(c.rows[1].sources, "hf:a/b:c.gguf") == 0);
    catalog_close(&c);
    free(a);
    free(b);
}

TEST(a_row_that_is_wrong_is_named_by_its_line)
{
    static const char name[] = "1: has a name of other than letters, digits and ._-";
    static const char file[] = "1: has a file of other than letters, digits and ._-";
    static const char sum[] = "1: has a sum of other than 64 hex digits";
    static const char length[] = "1: has no length in bytes";

    CHECK(refused(row_with(0, ""), name));
    CHECK(refused(row_with(0, "a/b"), name));
    CHECK(refused(row_with(0, "-m"), name));
    CHECK(refused(row_with(1, "base"), "1: has a kind that is neither chat nor text"));
    CHECK(refused(row_with(2, ""), "1: has no licence"));
    CHECK(refused(row_with(3, "0"), length));
    CHECK(refused(row_with(3, "-5"), length));
    CHECK(refused(row_with(3, "17 "), length));
    CHECK(refused(row_with(3, "99999999999999999999"), length));
    CHECK(refused(row_with(4, ""), sum));
    CHECK(refused(row_with(4, SHA "0"), sum));
    CHECK(refused(row_with(5, "../a.gguf"), file));
    CHECK(refused(row_with(5, ".."), file));
    CHECK(refused(row_with(6, ""), "1: has no source"));
    CHECK(refused(row_with(6, "hf:a/b:c\r"), "1: has a control character"));
    CHECK(refused(row_with(6, "x\ty"), "1: wants seven columns, with a tab between two"));
    CHECK(refused(strdup("\n\na\tb\n"), "3: wants seven columns, with a tab between two"));
}

TEST(a_name_stands_once)
{
    char *a = row_with(-1, ""), *text;

    CHECK(asprintf(&text, "%s%s", a, a) > 0);
    CHECK(refused(text, "2: has a name that stands above already"));
    free(a);
}

TEST(a_catalogue_with_a_nul_byte_is_none)
{
    char *text = strdup("# a"), why[256];
    catalog c;

    text[1] = '\0';
    CHECK(!catalog_parse(&c, text, 3, why, sizeof why));
    CHECK(strcmp(why, "1: holds a NUL byte") == 0);
    catalog_close(&c);
}

TEST(the_catalogue_that_ships_is_one)
{
    char why[512] = "";
    size_t n = 0;
    char *text = document_read("models/catalog.tsv", &n);
    catalog c;

    CHECK(text && catalog_parse(&c, text, n, why, sizeof why));
    CHECK(catalog_find(&c, "seedling-32m-mha") != NULL);
    CHECK(catalog_find(&c, "smollm2-135m-instruct") != NULL);
    catalog_close(&c);
}
