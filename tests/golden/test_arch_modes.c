/* test_arch_modes.c - every architecture in every cache mode: what the codes give stays close
 * to exact keys and values, biases and norms of heads and all. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/sample.h"
#include "tests/lab.h"
#include "tests/planned.h"
#include "tests/test.h"
#include "xcache/cache.h"
#include "xcache/codec/codec.h"

enum { IDS = 330, FROM = 128, LONG = 300, TOP = 10 };

/* Largest difference allowed of a log-probability among the ten best, and mean divergence. */
static const struct {
    const char *mode;
    double top, kl;
    bool chooses; /* may choose other experts... */
    bool firm;    /* but not in these models behind LONG tokens; others may there too */
} bounds[] = {{.mode = "kv32"},         {"kv16", 0.01, 1e-5, 0, 0}, {"kivi8", 0.1, 1e-3, 1, 0},
              {"xq8", 0.1, 1e-3, 1, 1}, {"cl4", 2, 0.2, 0, 0},      {"klt6", 2, 0.2, 0, 0},
              {"kivi4", 2, 0.2, 0, 0},  {"xq4", 2, 0.2, 0, 0}};

/* Rows beyond the bound because 8-bit codes choose another expert: over 30 random models .15
 * to .36 % of all, at most 1.5 % of one model's. */
static const double flips = 0.02;

static void read_mode(const planned *p, const char *mode, const plan *with, const int32_t *ids,
                      float *logits)
{
    const cache_options o = {.mode = mode,
                             .plan = with,
                             .budget_bytes = 64 << 20,
                             .workspace_bytes = 64 << 20,
                             .page_format = KV_FLOAT,
                             .max_running = 1,
                             .team = p->team,
                             .ctx_tokens = p->m->ctx};
    forward *f = NULL;
    cache *in = NULL;
    context *c = NULL;

    CHECK(cache_open(&in, p->m, &p->kern, &o) == ERR_OK);
    CHECK(forward_open(&f, p->m, &p->kern, p->team, CACHE_BLOCK_TOKENS, CACHE_BLOCK_TOKENS) ==
          ERR_OK);
    CHECK(cache_begin(in, &(cache_request){.tokens = IDS}, &c) == ERR_OK);
    for (size_t at = 0, T; at < IDS; at += T) {
        forward_chunk piece = {.context = c, .ids = ids + at, .pos = at, .logits = logits};

        T = IDS - at < CACHE_BLOCK_TOKENS ? IDS - at : CACHE_BLOCK_TOKENS;
        piece.T = piece.wanted = T;
        piece.logits = logits + at * p->m->V;
        cache_push(c, ids + at, T);
        forward_step(f, &piece, 1);
        cache_commit(c);
    }
    cache_end(c);
    forward_close(f);
    cache_close(in);
}

/* Share of rows `from` .. where a log-probability of the ten best tokens differs by more than
 * `bound`; the largest difference goes to *worst. */
static double share_beyond(const float *exact, const float *coded, size_t V, size_t from,
                           double bound, double *worst)
{
    size_t beyond = 0;

    *worst = 0;
    for (size_t t = from; t < IDS; t++) {
        sample_top best[TOP];
        double most = 0;

        sample_best(exact + t * V, V, TOP, best);
        for (size_t i = 0; i < TOP; i++)
            most = fmax(most,
                        fabs(sample_logprob(coded + t * V, V, best[i].id) - best[i].logprob));
        beyond += most > bound;
        *worst = fmax(*worst, most);
    }
    return (double)beyond / (double)(IDS - from);
}

static void check_modes(const char *arguments)
{
    int32_t ids[IDS];
    float *exact, *coded;
    planned p;
    plan *made;
    size_t V;

    planned_open_random(&p, arguments, 2);
    made = planned_make(&p, planned_full);
    V = p.m->V;
    exact = malloc(2 * IDS * V * sizeof *exact);
    CHECK(exact != NULL);
    coded = exact + IDS * V;
    memcpy(ids, p.ids, sizeof ids);
    read_mode(&p, "kv32", NULL, ids, exact);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        double top, late, kl, beyond;

        read_mode(&p, bounds[i].mode, made, ids, coded);
        beyond = share_beyond(exact, coded, V, FROM, bounds[i].top, &top);
        (void)share_beyond(exact, coded, V, LONG - 1, bounds[i].top, &late);
        kl = lab_kl(exact + FROM * V, coded + FROM * V, IDS - FROM, V);
        fprintf(stderr, "%s %s: top 10 within %.4f, after %d tokens %.4f, KL %.1e\n",
                p.m->arch->name, bounds[i].mode, top, LONG, late, kl);
        CHECK(late <= bounds[i].top || (bounds[i].chooses && !bounds[i].firm));
        CHECK(beyond <= (bounds[i].chooses && p.m->rule.used < p.m->X ? flips : 0));
        CHECK(kl <= bounds[i].kl);
    }
    free(exact);
    plan_close(made);
    planned_close(&p);
}

/* Two channels of the residual stream 100 times as large as the others. */
TEST(modes_klt_learns_from_massive_activations)
{
    planned p;
    plan *made;

    planned_open_random(&p, "--arch llama --layers 4 --massive 2", 2);
    made = planned_make(&p, planned_full);
    fprintf(stderr, "massive activations: KL %.1e\n", plan_kl(made, 8));
    CHECK(plan_kl(made, 8) >= 0 && plan_kl(made, 8) < 1e-5);
    plan_close(made);
    planned_close(&p);
}

/* Grouped heads wider than the model: latents would be wider than layer inputs. */
TEST(modes_xq_refuses_keys_wider_than_the_model)
{
    static const char *const others[] = {"kv16", "kivi4", "cl3", "auto", "klt6"};
    planned p;
    plan *made;
    codec_options o = {.mode = "xq4", .block_tokens = CACHE_BLOCK_TOKENS};
    codec_state s;

    planned_open_random(&p, "--arch qwen3 --layers 3 --head-dim 48", 2);
    made = planned_make(&p, planned_full);
    CHECK(p.m->E > p.m->D);
    CHECK(codec_open(&s, &o, p.m, &p.kern) == ERR_MODEMODEL);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        o.mode = others[i];
        o.plan = i == 4 ? made : NULL;
        CHECK(codec_open(&s, &o, p.m, &p.kern) == ERR_OK);
        codec_close(&s);
    }
    plan_close(made);
    planned_close(&p);
}

#define MODES_TEST(id, arguments)       \
    TEST(modes_are_close_to_exact_##id) \
    {                                   \
        check_modes(arguments);         \
    }

MODES_TEST(in_llama, "--arch llama --layers 3 --rope factors --head-dim 24")
MODES_TEST(in_mixtral, "--arch llama --layers 3 --experts 4 --used 2 --kv-heads 4")
MODES_TEST(in_mixtral_of_all, "--arch llama --layers 3 --experts 4 --used 4 --kv-heads 4")
MODES_TEST(in_qwen2, "--arch qwen2 --layers 3")
MODES_TEST(in_qwen2_mha, "--arch qwen2 --layers 3 --kv-heads 4")
MODES_TEST(in_qwen3, "--arch qwen3 --layers 3 --head-dim 32")
MODES_TEST(in_qwen3moe, "--arch qwen3moe --layers 3 --experts 8 --used 3 --ffn 64")
MODES_TEST(in_qwen3moe_of_all, "--arch qwen3moe --layers 3 --experts 8 --used 8 --ffn 64")
MODES_TEST(in_phi3, "--arch phi3 --layers 3 --rope long --turning 12 --window 200")
MODES_TEST(in_gemma2, "--arch gemma2 --layers 4 --head-dim 32 --window 100")
MODES_TEST(in_gemma3,
           "--arch gemma3 --layers 7 --head-dim 32 --window 70 --kv-heads 1 --rope linear")
MODES_TEST(in_gemma, "--arch gemma --layers 3 --head-dim 32")
MODES_TEST(in_qwen2moe_of_all, "--arch qwen2moe --layers 3 --experts 4 --used 4")
MODES_TEST(in_gpt_oss_of_all,
           "--arch gpt-oss --layers 4 --window 90 --rope yarn --experts 4 --used 4")
MODES_TEST(in_granite, "--arch granite --layers 3")
MODES_TEST(in_granitemoe_of_all, "--arch granitemoe --layers 3 --experts 4 --used 4")
MODES_TEST(in_olmo2, "--arch olmo2 --layers 4 --window 100 --rope yarn")
MODES_TEST(in_olmo2_mha, "--arch olmo2 --layers 3 --kv-heads 4")
MODES_TEST(in_exaone4, "--arch exaone4 --layers 4 --window 100")
MODES_TEST(in_smollm3, "--arch smollm3 --layers 5")
MODES_TEST(in_mistral3, "--arch mistral3 --layers 3 --rope yarn")
MODES_TEST(in_glm4, "--arch glm4 --layers 3 --turning 8")
MODES_TEST(in_glm4moe_of_all, "--arch glm4moe --layers 3 --turning 8 --experts 4 --used 4")
MODES_TEST(in_command_r, "--arch command-r --layers 3")
MODES_TEST(in_command_r_plus, "--arch command-r --layers 3 --beside 1")
MODES_TEST(in_cohere2, "--arch cohere2 --layers 4 --window 100")
MODES_TEST(in_phi2, "--arch phi2 --layers 3 --turning 8 --kv-heads 4")
MODES_TEST(in_starcoder2, "--arch starcoder2 --layers 3")
MODES_TEST(in_stablelm, "--arch stablelm --layers 3 --turning 4")
MODES_TEST(in_stablelm2, "--arch stablelm --layers 3 --turning 4 --beside 1")
MODES_TEST(in_seed_oss, "--arch seed_oss --layers 3 --head-dim 24")
MODES_TEST(in_apertus, "--arch apertus --layers 3 --rope factors")
MODES_TEST(in_minimax_m2_of_all,
           "--arch minimax-m2 --layers 3 --turning 8 --experts 4 --used 4")
MODES_TEST(in_llama4_of_all, "--arch llama4 --layers 4 --window 512 --experts 4 --used 4")
