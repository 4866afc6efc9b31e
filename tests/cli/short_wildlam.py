"""``wildlam`` with short evaluations, printing into a file for each process: ``short_wildlam.py OUT ARGUMENTS``."""

import os
import sys

import torch

from tests.helpers import shorten_evaluations
from wildlam.cli import main

if __name__ == "__main__":
    out, *arguments = sys.argv[1:]
    os.dup2(os.open(f"{out}.{os.environ['RANK']}", os.O_CREAT | os.O_WRONLY), 1)
    torch.set_num_threads(1)
    shorten_evaluations()
    sys.exit(main(arguments))
