"""main.py - the parts of tests/quality/run.sh by name."""
import pathlib
import signal
import sys

import divergence
import generation
import house
import peers
import render

PARTS = {"kl": lambda out, names, modes: divergence.run(out, "kl", names, modes),
         "domains": lambda out, names, modes: divergence.run(out, "domains", names, modes),
         "depth": lambda out, names, modes: divergence.run(out, "depth", names, modes),
         "generation": generation.run, "peers": peers.run, "peer-generation": peers.run_generation}


def main(folder, part="all", *names):
    out = pathlib.Path(folder)
    models = [n for n in names if n in house.MODELS] or list(house.MODELS)
    modes = [n for n in names if n not in house.MODELS]
    strange = [m for m in modes if m not in house.MODES and m not in house.PEERS]
    if part == "render":
        return render.run(out, pathlib.Path(names[0]) if names else house.ROOT / "docs/quality.md")
    if strange or part not in [*PARTS, "all"]:
        house.say(f"{' '.join(strange) or part}: none of {' '.join(PARTS)} all render; of the models "
                  f"{' '.join(house.MODELS)}; of the modes {' '.join(house.MODES)} {' '.join(house.PEERS)}")
        return False
    return all([PARTS[p](out, models, modes) for p in (PARTS if part == "all" else [part])])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        house.say("usage: tests/quality/run.sh OUT [PART [MODEL | MODE]...]")
        sys.exit(2)
    signal.signal(signal.SIGTERM, house.end_all)
    signal.signal(signal.SIGINT, house.end_all)
    sys.exit(0 if main(*sys.argv[1:]) else 1)
