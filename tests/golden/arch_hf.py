#!/usr/bin/env python3
"""arch_hf.py - records what Hugging Face's transformers computes with random models.

  tests/golden/arch_hf.py [NAME ...]      all of CASES, to tests/golden/arch/hf-NAME.json, and
                                          of EMBED, to embed-NAME.json
  tests/golden/arch_hf.py --folder NAME OUT   the model as a Hugging Face folder
  tests/golden/arch_hf.py --folders           what is recorded of folders alone, anew

Needs torch, transformers 5 and gguf from PyPI, and build/tests/tools/random_model. The random
model is written as a GGUF file by that tool; its tensors are given to transformers under the
names that gguf's own table of names (TensorNameMap) has for the architecture, in the order that
rotary positions of transformers want. test_arch.c makes the same file and compares.
"""
import json, os, pathlib, re, subprocess, sys, tempfile
import gguf, numpy as np, safetensors.numpy, torch, transformers

HERE = pathlib.Path(__file__).parent
TOOL = os.environ.get("RANDOM_MODEL", "build/tests/tools/random_model")
SHAPE = ("--d 64 --layers 2 --heads 4 --kv-heads 2 --ffn 96 --ctx 512 --seed 1 --type F32 --vocab 8192 "
         "--tokens models/seedling-32m-mha-q8_0.gguf").split()  # random_make's defaults
GREEDY, EVERY = 16, 64


def yarn(c, **more):
    return {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
            "original_max_position_embeddings": c["ctx"] // 4} | more


def plain(c, **more):
    return {"rope_type": "default", "rope_theta": 10000.0} | more


def layers(c, period, window="sliding_attention"):
    return ["full_attention" if l % period == period - 1 else window for l in range(c["layers"])]


GRANITE = dict(logits_scaling=3.0, residual_multiplier=0.4, embedding_multiplier=6.0,
               attention_multiplier=0.15)
MOE = dict(num_experts=6, num_experts_per_tok=2, num_local_experts=6)

# name: arguments of random_model, gguf's architecture, class, members of the configuration
CASES = {
    "mixtral": ("--arch llama --experts 6 --used 2", "LLAMA", "MixtralForCausalLM", lambda c: MOE),
    "qwen3moe": ("--arch qwen3moe --experts 6 --used 2 --head-dim 32", "QWEN3MOE",
                 "Qwen3MoeForCausalLM", lambda c: MOE | dict(
                     norm_topk_prob=True, moe_intermediate_size=c["ffn"], decoder_sparse_step=1,
                     mlp_only_layers=[])),
    "qwen2moe": ("--arch qwen2moe --experts 6 --used 2", "QWEN2MOE", "Qwen2MoeForCausalLM",
                 lambda c: MOE | dict(norm_topk_prob=False, moe_intermediate_size=c["ffn"],
                                      shared_expert_intermediate_size=c["ffn"] + 32,
                                      decoder_sparse_step=1, mlp_only_layers=[])),
    "gpt-oss": ("--arch gpt-oss --experts 6 --used 2 --layers 4 --window 60 --rope yarn",
                "GPT_OSS", "GptOssForCausalLM",
                lambda c: MOE | dict(sliding_window=60, layer_types=layers(c, 2),
                                     rope_parameters=yarn(c, truncate=False))),
    "gemma": ("--arch gemma --head-dim 32", "GEMMA", "GemmaForCausalLM",
              lambda c: dict(hidden_activation="gelu_pytorch_tanh", hidden_act="gelu_pytorch_tanh")),
    "granite": ("--arch granite", "GRANITE", "GraniteForCausalLM", lambda c: GRANITE),
    "granitemoe": ("--arch granitemoe --experts 6 --used 2", "GRANITE_MOE",
                   "GraniteMoeSharedForCausalLM",
                   lambda c: GRANITE | MOE | dict(shared_intermediate_size=c["ffn"] + 32)),
    "olmo2": ("--arch olmo2", "OLMO2", "Olmo2ForCausalLM", lambda c: {}),
    "olmo3": ("--arch olmo2 --layers 4 --window 60 --rope yarn", "OLMO2", "Olmo3ForCausalLM",
              lambda c: dict(sliding_window=60, layer_types=layers(c, 4), rope_parameters={
                  "full_attention": yarn(c), "sliding_attention": plain(c)})),
    "smollm3": ("--arch smollm3 --layers 4", "SMOLLM3", "SmolLM3ForCausalLM",
                lambda c: dict(no_rope_layer_interval=4, use_sliding_window=False)),
    "mistral3": ("--arch mistral3 --rope yarn --ctx 512", "MISTRAL3", "Ministral3ForCausalLM",
                 lambda c: dict(rope_parameters=yarn(
                     c, mscale=1.0, mscale_all_dim=1.0, beta_fast=16.0, beta_slow=1.0,
                     llama_4_scaling_beta=0.1, max_position_embeddings=c["ctx"]))),
    "glm4": ("--arch glm4 --turning 8", "GLM4", "Glm4ForCausalLM",
             lambda c: dict(attention_bias=False,
                            rope_parameters=plain(c, partial_rotary_factor=0.5))),
    "glm4moe": ("--arch glm4moe --experts 6 --used 2 --turning 8 --layers 3", "GLM4_MOE",
                "Glm4MoeForCausalLM",
                lambda c: MOE | dict(n_routed_experts=6, n_shared_experts=1, n_group=1,
                                     topk_group=1, routed_scaling_factor=1.5, norm_topk_prob=True,
                                     first_k_dense_replace=1, moe_intermediate_size=c["ffn"],
                                     intermediate_size=2 * c["ffn"], attention_bias=True,
                                     use_qk_norm=False, mlp_layer_types=None,
                                     rope_parameters=plain(c, partial_rotary_factor=0.5))),
    "command-r": ("--arch command-r", "COMMAND_R", "CohereForCausalLM",
                  lambda c: dict(logit_scale=0.25, use_qk_norm=False)),
    "command-r-plus": ("--arch command-r --beside 1", "COMMAND_R", "CohereForCausalLM",
                       lambda c: dict(logit_scale=0.25, use_qk_norm=True)),
    "cohere2": ("--arch cohere2 --layers 4 --window 60", "COHERE2", "Cohere2ForCausalLM",
                lambda c: dict(logit_scale=0.25, sliding_window=60, layer_types=layers(c, 4))),
    "phi2": ("--arch phi2 --turning 8 --kv-heads 4", "PHI2", "PhiForCausalLM",
             lambda c: dict(hidden_act="gelu_new", qk_layernorm=False,
                            rope_parameters=plain(c, partial_rotary_factor=0.5))),
    "starcoder2": ("--arch starcoder2 --window 60", "STARCODER2", "Starcoder2ForCausalLM",
                   lambda c: dict(use_bias=True, norm_epsilon=1e-5, sliding_window=60,
                                  hidden_act="gelu_pytorch_tanh")),
    "stablelm": ("--arch stablelm --turning 4", "STABLELM", "StableLmForCausalLM",
                 lambda c: dict(use_qkv_bias=False, qk_layernorm=False, use_parallel_residual=False,
                                rope_parameters=plain(c, partial_rotary_factor=0.25))),
    "stablelm2-12b": ("--arch stablelm --turning 4 --beside 1", "STABLELM", "StableLmForCausalLM",
                      lambda c: dict(use_qkv_bias=False, qk_layernorm=True,
                                     use_parallel_residual=True,
                                     rope_parameters=plain(c, partial_rotary_factor=0.25))),
    "exaone4": ("--arch exaone4 --layers 4 --window 60", "EXAONE4", "Exaone4ForCausalLM",
                lambda c: dict(sliding_window=60, sliding_window_pattern=4,
                               layer_types=layers(c, 4))),
    "seed_oss": ("--arch seed_oss --head-dim 32", "SEED_OSS", "SeedOssForCausalLM",
                 lambda c: dict(attention_bias=True, attention_out_bias=False)),
    "apertus": ("--arch apertus", "APERTUS", "ApertusForCausalLM",
                lambda c: dict(hidden_act="xielu", rope_parameters=plain(c))),
    "minimax-m2": ("--arch minimax-m2 --experts 6 --used 2 --turning 8", "MINIMAXM2",
                   "MiniMaxM2ForCausalLM",
                   lambda c: MOE | dict(rotary_dim=8, rope_parameters=plain(
                       c, partial_rotary_factor=0.5))),
    "llama4": ("--arch llama4 --experts 6 --used 1 --layers 4 --ctx 1024 --window 512", "LLAMA4",
               "Llama4ForCausalLM",
               lambda c: MOE | dict(intermediate_size_mlp=2 * c["ffn"], num_experts_per_tok=1,
                                    intermediate_size=c["ffn"], interleave_moe_layer_step=2,
                                    attention_chunk_size=512, no_rope_layers=[1, 1, 1, 0],
                                    layer_types=layers(c, 4, "chunked_attention"),
                                    use_qk_norm=True, attn_temperature_tuning=True,
                                    floor_scale=8192, attn_scale=0.1)),
}
FUSED = ("phi2",)  # whose folder has in several tensors what the random model has in one


def each(block, gate="gate_proj", up="up_proj", down="down_proj"):
    """A matrix for each expert."""
    return [dict(name=f"model.layers.%.{block}.experts.#.{name}.weight", of=[f"ffn_{part}_exps.weight"])
            for name, part in ((gate, "gate"), (up, "up"), (down, "down"))]


def both(name, kind, **more):
    """Gate and up in one tensor."""
    return dict(name=f"model.layers.%.{name}", of=[f"ffn_gate_{kind}", f"ffn_up_{kind}"]) | more


def one(name, of, **more):
    return dict(name=f"model.layers.%.{name}", of=[of]) | more


# tests/hf_forms.h: tensors of a folder that are not one of the file each
MIXED = each("block_sparse_moe", "w1", "w3", "w2")
FORMS = {
    "mixtral": MIXED, "minimax-m2": MIXED, "qwen3moe": each("mlp"), "glm4moe": each("mlp"),
    "qwen2moe": each("mlp") + [one("mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight",
                                   line=True)],
    "gpt-oss": [both("mlp.experts.gate_up_proj", "exps.weight", woven=True, turned=True),
                both("mlp.experts.gate_up_proj_bias", "exps.bias", woven=True, turned=True, flat=True),
                one("mlp.experts.down_proj", "ffn_down_exps.weight", turned=True)],
    "granitemoe": [both("block_sparse_moe.input_linear.weight", "exps.weight"),
                   one("block_sparse_moe.output_linear.weight", "ffn_down_exps.weight"),
                   both("shared_mlp.input_linear.weight", "shexp.weight")],
    "llama4": [both("feed_forward.experts.gate_up_proj", "exps.weight", turned=True),
               one("feed_forward.experts.down_proj", "ffn_down_exps.weight", turned=True)],
    "apertus": [dict(name=f"model.layers.%.mlp.act_fn.{x}", key=f"xielu.{x}", dims=d)
                for x, d in (("alpha_p", 1), ("alpha_n", 1), ("beta", 0), ("eps", 0))],
    "stablelm2-12b": [one(f"self_attn.{x}_layernorm.norms.#.weight", f"attn_{x}_norm.weight", flat=True)
                      for x in "qk"],
}
# The same of models for embeddings: how rows are pooled, then as above
EMBED = {
    "bert": ("--arch bert --kv-heads 4 --pooling 1", "BERT", "BertModel", lambda c: dict(
        hidden_act="gelu", type_vocab_size=2)),
    "bert-cls": ("--arch bert --kv-heads 4 --pooling 2 --seed 2", "BERT", "BertModel", lambda c: dict(
        hidden_act="gelu", type_vocab_size=2)),
    "nomic-bert": ("--arch nomic-bert --kv-heads 4 --pooling 1", "NOMIC_BERT", "NomicBertModel", lambda c: dict(pad_token_id=0,
        hidden_act="silu", type_vocab_size=2)),
    "qwen3-embedding": ("--arch qwen3 --pooling 3 --head-dim 32", "QWEN3", "Qwen3Model",
                        lambda c: {}),
    "gemma-embedding": ("--arch gemma-embedding --pooling 1 --layers 6 --window 60",
                        "GEMMA_EMBEDDING", "Gemma3TextModel", lambda c: dict(
                            use_bidirectional_attention=True, sliding_window=60,
                            query_pre_attn_scalar=c["head"],
                            layer_types=layers(c, 6), rope_parameters={
                                "full_attention": plain(c, rope_theta=1e6),
                                "sliding_attention": plain(c)})),
}
CASES_OF = lambda case: EMBED.get(case) or CASES[case]
TOKENS = {"llama4": 600}  # more than one chunk of keys
HALVED = {"LLAMA", "GRANITE", "GRANITE_MOE", "SMOLLM3", "MISTRAL3"}  # files have pairs together


def read_file(path):
    reader = gguf.GGUFReader(path)
    value = lambda k: reader.fields[k].contents()
    arch = value("general.architecture")
    get = lambda k: value(f"{arch}.{k}")
    c = dict(layers=get("block_count"), d=get("embedding_length"), heads=get("attention.head_count"),
             kv=get("attention.head_count_kv"), head=get("attention.key_length"),
             ctx=get("context_length"))
    weights = {t.name: np.array(t.data) for t in reader.tensors}
    c["vocab"] = weights["token_embd.weight"].shape[0]
    bends = {k: value(k) for k in reader.fields if k.startswith("xielu.")}
    return c, weights, bends


def make_config(case, c, ffn):
    _, _, name, members = CASES_OF(case)
    kind = getattr(transformers, name).config_class
    c["ffn"] = ffn
    base = dict(vocab_size=c["vocab"], hidden_size=c["d"], num_hidden_layers=c["layers"],
                num_attention_heads=c["heads"], num_key_value_heads=c["kv"], head_dim=c["head"],
                intermediate_size=ffn, max_position_embeddings=c["ctx"], rms_norm_eps=1e-5,
                layer_norm_eps=1e-5, rope_parameters=plain(c), hidden_act="silu",
                tie_word_embeddings=case.split("-")[0] in ("gemma", "command", "cohere2"),
                pad_token_id=None, bos_token_id=0, eos_token_id=1, attn_implementation="eager")
    return kind(**(base | members(c)))


def together(a, heads):
    """Rows of a head from pairs that lie together to halves."""
    width = a.shape[0] // heads
    return a.reshape(heads, width // 2, 2, -1).swapaxes(1, 2).reshape(a.shape)


class Source:
    """Tensors of the file by the names that transformers has."""

    def __init__(self, arch, c, weights, bends):
        self.arch, self.c, self.w, self.bends = arch, c, weights, bends
        self.map = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch), c["layers"])
        self.used = set()

    def take(self, name):
        self.used.add(name)
        return self.w[name]

    def experts(self, block, leaf, shape):
        get = lambda part: self.take(f"{block}.{part}")
        if leaf in ("gate_up_proj", "input_linear.weight"):
            gate, up = get("ffn_gate_exps.weight"), get("ffn_up_exps.weight")
            if self.arch == "GPT_OSS":
                return np.stack([gate, up], 2).reshape(gate.shape[0], -1, gate.shape[2]).swapaxes(1, 2)
            both = np.concatenate([gate, up], 1)
            return both.swapaxes(1, 2) if self.arch == "LLAMA4" else both
        if leaf == "gate_up_proj_bias":
            gate, up = get("ffn_gate_exps.bias"), get("ffn_up_exps.bias")
            return np.stack([gate, up], 2).reshape(gate.shape[0], -1)
        if leaf == "down_proj_bias":
            return get("ffn_down_exps.bias")
        down = get("ffn_down_exps.weight")
        return down.swapaxes(1, 2) if self.arch in ("GPT_OSS", "LLAMA4") else down

    def nomic(self, name):
        """gguf has the names of the older code alone, whose projections are one."""
        layer, part = re.match(r"layers\.(\d+)\.(.*)", name).groups()
        part = part.replace("post_attention_layernorm", "attn_output_norm").replace(
            "post_mlp_layernorm", "layer_output_norm").replace("self_attn.o_proj", "attn_output")
        part = re.sub(r"mlp\.(gate|up|down)_proj", r"ffn_\1", part)
        part = re.sub(r"self_attn\.(q|k|v)_proj", r"attn_\1", part)
        out = f"blk.{layer}.{part}"
        return self.take(out) if out in self.w else self.fused(out)

    def special(self, name, shape):
        parts = name.split(".")
        if self.arch == "NOMIC_BERT" and parts[0] == "layers":
            return self.nomic(name)
        block = f"blk.{parts[2]}" if parts[1] == "layers" else ""
        leaf = parts[-1]
        if "act_fn" in name:
            key = {"alpha_p": "xielu.alpha_p", "alpha_n": "xielu.alpha_n", "beta": "xielu.beta",
                   "eps": "xielu.eps"}[leaf]
            return np.float32(self.bends[key][int(parts[2])]).reshape(shape)
        if leaf == "e_score_correction_bias":
            return self.take(f"{block}.exp_probs_b.bias")
        if leaf == "sinks":
            return self.take(f"{block}.attn_sinks.weight")
        if name.endswith("block_sparse_moe.router.weight"):
            return self.take(f"{block}.ffn_gate_inp.weight")
        if ".experts.gate_up" in name or ".experts.down" in name:
            return self.experts(block, leaf, shape)
        if "block_sparse_moe.input_linear" in name or "block_sparse_moe.output_linear" in name:
            return self.experts(block, ".".join(parts[-2:]), shape)
        if "shared_mlp.input_linear" in name:
            return np.concatenate([self.take(f"{block}.ffn_gate_shexp.weight"),
                                   self.take(f"{block}.ffn_up_shexp.weight")], 0)
        if "layernorm.norms" in name:  # StableLM 2 12B: a norm for each head
            part = "attn_q_norm" if "q_layernorm" in name else "attn_k_norm"
            return self.take(f"{block}.{part}.weight")[int(parts[parts.index("norms") + 1])]
        return None

    def find(self, name, shape):
        special = self.special(name, shape)
        if special is not None:
            return special
        if name.startswith(("layers.", "embed_tokens.", "norm.")):
            name = f"model.{name}"
        out = self.map.get_name(name, try_suffixes=(".weight", ".bias"))
        if out and out not in self.w and any(f".attn_{x}." in out for x in "qkv"):
            return self.fused(out)
        if not out or out not in self.w:
            raise KeyError(f"{name} -> {out}")
        a = self.take(out)
        if self.arch in HALVED and (".attn_q." in out or ".attn_k." in out):
            a = together(a, self.c["heads" if ".attn_q." in out else "kv"])
        if self.arch in ("GEMMA", "GEMMA_EMBEDDING") and "norm" in out:
            a = a - 1
        return a.reshape(shape)

    def fused(self, out):
        q, e = self.c["heads"] * self.c["head"], self.c["kv"] * self.c["head"]
        first = {"q": 0, "k": q, "v": q + e}[out.split("attn_")[1][0]]
        kind = out.split(".")[-1]
        block = ".".join(out.split(".")[:2])
        return self.take(f"{block}.attn_qkv.{kind}")[first:first + (q if first == 0 else e)]


def build(case, path):
    arguments, arch, name, _ = CASES_OF(case)
    subprocess.run([TOOL, *SHAPE, *arguments.split(), path], check=True)
    c, weights, bends = read_file(path)
    more = {"add_pooling_layer": False} if "BERT" in arch else {}
    model = getattr(transformers, name)(make_config(case, c, 96), **more).float().eval()
    source = Source(arch, c, weights, bends)
    state = model.state_dict()
    for key, value in state.items():
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        state[key] = torch.from_numpy(np.array(source.find(key, tuple(value.shape)), np.float32))
        assert state[key].shape == value.shape, (key, state[key].shape, value.shape)
    if model.config.tie_word_embeddings and "lm_head.weight" in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    left = set(weights) - source.used - {"token_embd.weight"}
    if case in EMBED:  # behind the model; and its output, which is not looked at
        c["dense"] = [torch.from_numpy(weights[k]) for k in sorted(left) if k.startswith("dense_")]
        left = {k for k in left if not k.startswith("dense_") and k != "output.weight"}
    assert not left, f"tensors that transformers has not: {left}"
    c["source"] = source
    return model, c


def expected(source, form, layer):
    """Tensors that a form makes of the file's, by their names."""
    name = form["name"].replace("%", str(layer))
    if "key" in form:
        return {name: np.float32(source.bends[form["key"]][layer]).reshape([1] * form["dims"])}
    of = [source.w.get(f"blk.{layer}.{x}") for x in form["of"]]
    if of[0] is None:
        return {}
    of = [x[:, None, :] if form.get("flat") else x for x in of]
    stacked = of[0].ndim == 3
    of = [x if stacked else np.atleast_2d(x)[None] for x in of]
    a = of[0] if len(of) == 1 else np.concatenate(of, 1)
    if form.get("woven"):
        a = np.stack(of, 2).reshape(a.shape)
    if form.get("turned"):
        a = a.swapaxes(1, 2)
    if form.get("flat"):
        a = a.reshape(a.shape[0], -1)
    if "#" in form["name"]:
        return {name.replace("#", str(i)): x for i, x in enumerate(a)}
    return {name: a if stacked else a[0]}


def names_of(case, source, saved):
    """What each other tensor of the file is called in the folder: that which holds its numbers."""
    arch, c = CASES[case][1], source.c
    forms = FORMS.get(case, [])
    for form in forms:
        for l in range(c["layers"]):
            for name, a in expected(source, form, l).items():
                b = saved.pop(name)
                assert a.shape == b.shape and (a == b).all(), (name, a.shape, b.shape)
    done = {x for form in forms for x in form.get("of", [])}
    names = {}
    for out, a in source.w.items():
        part = re.sub(r"^blk\.\d+\.", "", out)
        if part in done:
            continue
        if arch in HALVED and (".attn_q." in out or ".attn_k." in out):
            a = together(a, c["heads" if ".attn_q." in out else "kv"])
        if arch == "GEMMA" and "norm" in out:
            a = a - 1
        found = [n for n, b in saved.items() if a.shape == b.shape and np.array_equal(a, b)]
        assert len(found) == 1, (out, found)
        del saved[found[0]]
        names[part] = re.sub(r"layers\.\d+\.", "layers.%.", found[0])
    assert not saved, saved.keys()
    return names


def folder_of(case, model, c):
    """What test_convert_arch.c makes the folder of: its config.json, and names of its tensors."""
    with tempfile.TemporaryDirectory() as folder:
        model.config.architectures = [CASES[case][2]]
        model.save_pretrained(folder)
        config = json.loads(pathlib.Path(f"{folder}/config.json").read_text())
        saved = safetensors.numpy.load_file(f"{folder}/model.safetensors")
    out = {"config": config, "names": names_of(case, c["source"], saved),
           "together": CASES[case][1] in HALVED, "less_1": CASES[case][1] == "GEMMA"}
    return out | ({"forms": FORMS[case]} if case in FORMS else {})


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


TEXTS = [(0, 1), (1, 5), (6, 17), (23, 130), (153, 128), (40, 290)]  # first, length; in the ids


def vector_of(model, c, ids, pooling):
    """As sentence-transformers does: pooling, dense layers, length 1."""
    with torch.no_grad():
        rows = model(torch.tensor([ids])).last_hidden_state[0]
        y = {1: rows.mean(0), 2: rows[0], 3: rows[-1]}[pooling]
        for w in c["dense"]:
            y = w @ y
        return torch.nn.functional.normalize(y, dim=0).numpy()


def record_embedding(case):
    arguments, _, name, _ = EMBED[case]
    with tempfile.TemporaryDirectory() as folder:
        model, c = build(case, f"{folder}/model.gguf")
    ids = random_ids(330)
    pooling = int(re.search(r"--pooling (\d)", arguments)[1])
    out = {"model": arguments, "reference": f"transformers {transformers.__version__}, torch "
           f"{torch.__version__.split('+')[0]}, {name}", "ids": ids, "texts": [
               {"first": first, "n": n, "vector": [float(f"{x:.7g}") for x in vector_of(
                   model, c, ids[first:first + n], pooling)]} for first, n in TEXTS]}
    text = json.dumps(out).replace('"texts"', '\n "texts"').replace('{"first"', '\n  {"first"')
    (HERE / "arch" / f"embed-{case}.json").write_text(text + "\n")
    print(case, "recorded", out["reference"])


def random_ids(n):
    x, ids = 12345, []
    for _ in range(n):
        x = (x * 1103515245 + 12345) % 2**31
        ids.append(x // 65536 % 8000)
    return ids


def record(case):
    n = TOKENS.get(case, 330)
    with tempfile.TemporaryDirectory() as folder:
        model, c = build(case, f"{folder}/model.gguf")
    ids = random_ids(n)
    all_ = logits_of(model, ids)
    at = [0, 63, 130, n - 1]
    chosen = list(range(0, c["vocab"], EVERY))
    greedy, more = [], list(ids)
    for _ in range(GREEDY):
        greedy.append(int(logits_of(model, more)[-1].argmax()))
        more.append(greedy[-1])
    out = {"model": CASES[case][0], "reference": f"transformers {transformers.__version__}, torch "
           f"{torch.__version__.split('+')[0]}, {CASES[case][2]}", "ids": ids, "every": EVERY,
           "logits": [{"at": t, "values": [float(f"{all_[t][i]:.7g}") for i in chosen]} for t in at],
           "greedy": greedy}
    if case not in FUSED:
        out["folder"] = folder_of(case, model, c)
    text = json.dumps(out).replace('"logits"', '\n "logits"').replace('{"at"', '\n  {"at"')
    (HERE / "arch" / f"hf-{case}.json").write_text(text.replace('"greedy"', '\n "greedy"').replace('"folder"', '\n "folder"') + "\n")
    print(case, "recorded", out["reference"])


def record_folder(case):
    path = HERE / "arch" / f"hf-{case}.json"
    text = path.read_text()
    with tempfile.TemporaryDirectory() as folder:
        out = folder_of(case, *build(case, f"{folder}/model.gguf"))
    before = text.split('"folder"')[0].rstrip().removesuffix("}").rstrip(",")
    path.write_text(before + ', \n "folder": ' + json.dumps(out) + "}\n")
    print(case, "folder recorded")


def main(arguments):
    transformers.logging.set_verbosity_error()
    if arguments[:1] == ["--folder"]:
        model, _ = build(arguments[1], f"{arguments[2]}.gguf")
        model.save_pretrained(arguments[2])
        return
    if arguments[:1] == ["--folders"]:
        for case in CASES:
            if case not in FUSED:
                record_folder(case)
        return
    failed = 0
    for case in arguments or [*CASES, *EMBED]:
        try:
            (record_embedding if case in EMBED else record)(case)
        except Exception as e:
            if os.environ.get("RAISE"):
                raise
            failed += 1
            print(case, "FAILED", type(e).__name__, str(e)[:300])
    sys.exit(failed > 0)


main(sys.argv[1:])
