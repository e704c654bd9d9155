"""How often the zoo's gate errs, and what it sees: prints the tables of docs/zoo.md.

    python -m tests.benchmarks.gate_errors [--trials 3000]

Of 30 candidates that are no better than the champion, does any replace it? And what is the chance of one that is
better? The spread is two standard errors of the share. About ten minutes on one core with the default.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from tests.simulated_gate import MPJPE_CM, World, any_promoted, power


def spread(share: float, trials: int) -> str:
    return f"{share:6.3f} +- {2 * (max(share * (1 - share), 1 / trials) / trials) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=3000)
    trials = parser.parse_args().trials
    started = time.monotonic()
    worlds = {
        "12 groups of 8 clips": World(),
        "4 groups of 8 clips": World(groups=4),
        "12 groups, heavy tails (t with 3 degrees)": World(heavy_tails=True),
        "12 groups of 4 to 24 clips": World(clips_per_group=4, unequal=True),
        "12 groups, no luck within groups": World(clip_cm=0.0),
    }
    print(f"Any of 30 no better ones promoted, of {trials} champions: uncorrected, corrected")
    for name, world in worlds.items():
        shares = [
            any_promoted(world, candidates=30, trials=trials, seed=1, corrected=corrected)
            for corrected in (False, True)
        ]
        print(f"  {name:42s} {spread(shares[0], trials)}   {spread(shares[1], trials)}", flush=True)
    looks = (1, 2, 5, 10, 30)
    print(f"Power, 12 groups of 8 clips, by look {looks}")
    for group_cm in (0.05, 0.10, 0.15):
        for better in (0.02, 0.05, 0.10):
            world = replace(World(), group_cm=group_cm, clip_cm=2 * group_cm)
            shares = [power(world, better=better, look=look, trials=trials, seed=2) for look in looks]
            luck = f"models differ by {group_cm / MPJPE_CM:.1%} a group, better by {better:.0%}"
            print(f"  {luck:50s} {'  '.join(f'{share:.2f}' for share in shares)}", flush=True)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
