"""A motion is given to another scene: the film that the README shows, docs/images/local_transfer.webp

    python benchmarks/local_film.py [--run RUN]

Composed scenes on held-out frames of the run's own videos (wildlam-tiny, and the films that it was trained on, if no
run is given; they are made if they are not there): in a source one of two discs moves, and its latent action is applied
to another scene. Prints the figures, too. A minute on one core, once there are films and their states.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mix import PARTS, SCENES
from PIL import Image
from worlds import film, unpacked

from wildlam.distributed import Processes
from wildlam.evaluation.locality import locality
from wildlam.report.local_film import BLINKS, local_film
from wildlam.workflows.evaluate import backgrounds
from wildlam.workflows.open_run import inferred, load_clips, open_run
from wildlam.worlds.sample_films import collect_sample_films

QUALITY = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="wildlam-tiny if not given")
    parser.add_argument("--work", type=Path, default=Path("runs/worlds"), help="folder for films")
    parser.add_argument("--out", type=Path, default=Path("docs/images/local_transfer.webp"))
    args = parser.parse_args()
    if args.run is None:
        film(args, PARTS)
        collect_sample_films(args.work / "videos" / "filmed")
        args.run = unpacked(args)
    opened = open_run(args.run)
    model, encoder = opened.model(), opened.encoder
    config = opened.config
    if config.data.path == (args.work / "videos").absolute():  # whose states are kept in one place
        config = replace(config, data=replace(config.data, cache=args.work.absolute() / "cache"))
    clips = load_clips(config, encoder, Processes(0, 1, encoder.device))
    frames, recordings = backgrounds(inferred(clips, model, clips.held_out), clips)
    found = locality(model, encoder, frames, scenes=SCENES, recordings=recordings)
    for name, of_kind in found.summary().items():
        print(name, of_kind)
    first, *others = [Image.fromarray(frame) for frame in local_film(found, encoder.spec.grid)]
    first.save(args.out, save_all=True, append_images=others, duration=round(1000 / BLINKS), loop=0, quality=QUALITY)


if __name__ == "__main__":
    main()
