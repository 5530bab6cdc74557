/* test_similarity.c - cosines of neighbouring layers against a plain calculation. */
#include "xcache/calibrate/similarity.h"

#include <math.h>
#include <stdlib.h>

#include "tests/planned.h"
#include "tests/test.h"

enum { ROWS = 2, ROW = 160, N = ROWS * ROW };

/* Mean over tokens of the cosine of a w^T and b u^T; w, u [E,D], NULL: of a and b. */
static double mean_cosine(const float *a, const float *w, const float *b, const float *u,
                          size_t E, size_t D)
{
    double sum = 0;

    for (size_t t = 0; t < N; t++, a += D, b += D) {
        double ab = 0, aa = 0, bb = 0;

        for (size_t e = 0; e < E; e++) {
            double y = w ? 0 : (double)a[e], z = u ? 0 : (double)b[e];

            for (size_t i = 0; w && i < D; i++) {
                y += (double)a[i] * (double)w[e * D + i];
                z += (double)b[i] * (double)u[e * D + i];
            }
            ab += y * z;
            aa += y * y;
            bb += z * z;
        }
        sum += ab / sqrt(aa * bb);
    }
    return sum / N;
}

TEST(similarity_of_neighbouring_layers_is_the_mean_cosine_over_tokens)
{
    const stage silent = {0};
    planned p;
    reader_model parts;
    reader_text text;
    similarity got[2];
    float *x, *w, *u;
    size_t D, E;

    planned_open(&p, 2);
    D = p.m->D;
    E = p.m->E;
    parts = (reader_model){p.m, &p.kern, p.team, CACHE_BLOCK_TOKENS};
    text = (reader_text){p.ids, ROWS, ROW};
    x = malloc(3 * N * D * sizeof *x);
    w = malloc(E * D * sizeof *w);
    u = malloc(E * D * sizeof *u);
    CHECK(reader_record(&parts, &text, &silent, x) == ERR_OK);
    CHECK(similarity_measure(&parts, &text, got) == ERR_OK);
    for (size_t l = 0; l < 2; l++) {
        const float *a = x + l * N * D, *b = a + N * D;

        CHECK(fabs(got[l].x - mean_cosine(a, NULL, b, NULL, D, D)) < 1e-9);
        model_read_kv(p.m->layers[l].k_file, w);
        model_read_kv(p.m->layers[l + 1].k_file, u);
        CHECK(fabs(got[l].k - mean_cosine(a, w, b, u, E, D)) < 1e-5);
        model_read_kv(p.m->layers[l].v_file, w);
        model_read_kv(p.m->layers[l + 1].v_file, u);
        CHECK(fabs(got[l].v - mean_cosine(a, w, b, u, E, D)) < 1e-5);
    }
    CHECK(got[1].k > got[0].k + .1); /* layer 2 has the weights of layer 1 */
    free(x);
    free(w);
    free(u);
    planned_close(&p);
}
