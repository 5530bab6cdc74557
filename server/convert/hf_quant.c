/* hf_quant.c - reads quantization_config.
 *
 * Two ways are read, and each leaves some tensors as they are: what a tensor is says its own
 * type, so the lists of exceptions need no reading. compressed-tensors is a family of ways, of
 * which one is FP8 again. */
#include "server/convert/hf_quant.h"

#include <string.h>

enum { MOST = 1 << 20, USUAL = 128 };

/* "weight_block_size": [128, 128]; none where one scale serves a tensor or a row. */
static bool read_block(hf_quant *q, const cJSON *all, fault *why)
{
    const cJSON *list = json_get(all, "weight_block_size"), *item;
    size_t n = 0;

    q->block[0] = q->block[1] = USUAL;
    if (!list) return true;
    cJSON_ArrayForEach (item, list) {
        if (n < 2 && json_is_int(item, 1, MOST)) q->block[n] = (size_t)item->valuedouble;
        n += json_is_int(item, 1, MOST);
    }
    return (cJSON_GetArraySize(list) == 2 && n == 2) ||
           fault_refuse(why, ERR_JSON, NULL,
                        "weight_block_size must be two whole numbers above 0");
}

/* The numbers of weights in compressed-tensors: eight bits, floats. */
static bool is_compressed_fp8(const cJSON *all)
{
    const cJSON *group, *bits, *type;

    cJSON_ArrayForEach (group, json_get(all, "config_groups")) {
        bits = json_get(json_get(group, "weights"), "num_bits");
        type = json_get(json_get(group, "weights"), "type");
        if (!json_is_int(bits, 8, 8) || !cJSON_IsString(type) ||
            strcmp(type->valuestring, "float") != 0)
            return false;
    }
    return json_get(all, "config_groups") != NULL;
}

bool hf_quant_read(hf_quant *q, const cJSON *config, fault *why)
{
    const cJSON *all = json_get(config, "quantization_config");
    const char *way = "an unnamed way";

    *q = (hf_quant){HF_QUANT_NONE, {USUAL, USUAL}};
    if (!all) return true;
    if (!json_get_string(all, "quant_method", &way, why)) return false;
    if (strcmp(way, "mxfp4") == 0)
        q->kind = HF_QUANT_MXFP4;
    else if (strcmp(way, "fp8") == 0 ||
             (strcmp(way, "compressed-tensors") == 0 && is_compressed_fp8(all)))
        q->kind = HF_QUANT_FP8;
    if (q->kind == HF_QUANT_FP8) return read_block(q, all, why);
    return q->kind != HF_QUANT_NONE ||
           fault_refuse(why, ERR_JSON, NULL,
                        "the weights are quantized already, by %s; fp8 and mxfp4 are read",
                        way);
}
