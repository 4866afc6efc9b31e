"""What tests of several rooms share: tiny encoders and runs, and processes that work together."""

import gc
import multiprocessing
import multiprocessing.connection
import operator
import os
import runpy
import socket
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch

from wildlam.config import RunConfig, dump_config
from wildlam.distributed import Processes
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.transformer import SIZES, Size
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.video.config import DataConfig

ROOT = Path(__file__).parents[1]
SIDE, TOKENS, WIDTH = 32, 4, 48
"""Of the tiny V-JEPA 2: side of its pictures, tokens of a state and their width."""


def save_tiny(path, seed=0):
    """Save a V-JEPA 2 with random weights; return its folder as text."""
    from transformers import VJEPA2Config, VJEPA2Model  # a second that other tests need not wait

    torch.manual_seed(seed)
    config = VJEPA2Config(
        hidden_size=WIDTH,
        num_attention_heads=4,
        num_hidden_layers=2,
        crop_size=SIDE,
        patch_size=16,
        frames_per_clip=8,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    model = VJEPA2Model(config)
    for parameter in model.parameters():  # transformers' own start is so small that attention would hardly matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(path)
    return str(path)


def make_models_tiny(patch):
    """Make the default size of model one of milliseconds, as long as a ``pytest.MonkeyPatch`` holds."""
    patch.setitem(SIZES, "tiny", Size(width=16, depth=2, heads=1))


FOR_GOOD = SimpleNamespace(setattr=setattr, setitem=operator.setitem)
"""Patches as a ``pytest.MonkeyPatch`` does, until the process ends."""


def shorten_evaluations(patch=FOR_GOOD):
    """Encoding the composed scenes, UMAP and what is measured beforehand would be most of the time of tests that
    evaluate a run."""
    from wildlam.evaluation import suite  # what most of the processes that tests start do not need
    from wildlam.workflows import durations

    patch.setattr(suite, "locality", partial(suite.locality, scenes=2))
    patch.setitem(sys.modules, "umap", None)
    patch.setattr(durations, "BUDGET", 0.0)


def make_run(path, videos, encoder, model=ModelConfig(bottleneck=Noisy(dim=4))):  # noqa: B008 (never changed)
    """A run folder with an untrained model."""
    data = DataConfig(path=videos, workers=0, frames=4)
    config = RunConfig(data=data, encoder=encoder, model=model, out=path)
    spec, run = encoder.build("cpu").spec, Run(path)
    run.create(dump_config(config), 0, spec)
    model = config.model.build(spec.width, spec.grid)
    writer = checkpoints.Writer(run.checkpoints, 1, Processes(0, 1, torch.device("cpu")))
    writer.save(1, None, model.state_dict(), {})
    writer.wait()
    return path


PRELOADED = ["wildlam.video.loader", "wildlam.training"]
COMPILER = ["torch._dynamo", "torch.distributed.fsdp"]
"""What every optimiser imports, and what shares a model."""


def started(target, *arguments, preloaded=PRELOADED):
    """Call a function of a module in another process, which need not import PyTorch: the server it is forked from has.

    As in production, of which this is the server. It holds no simulator, no store and none of what a test patches.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preloaded)  # of the first call, which starts the server
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def printed(folder, target, *arguments, **variables):
    """Call a function in another process with variables of the environment; give what it wrote to stdout and stderr.

    A variable that is None is removed.
    """
    files = [folder / "printed.out", folder / "printed.err"]
    process = started(_print_into, files, target, arguments, variables)
    process.join(120)
    process.kill()  # if it hangs
    process.join()
    out, err = (file.read_text() for file in files)
    assert process.exitcode == 0, err
    return out, err


def _print_into(files, target, arguments, variables):
    for descriptor, file in enumerate(files, 1):  # what libraries write, too
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    target(*arguments)
    gc.collect()  # what complains when it is deleted does now
    sys.stdout.flush()
    sys.stderr.flush()


def start_script(script, *arguments, **variables):
    """Run a script of ``tests`` in another process, see ``started``, with more variables of the environment."""
    variables = {"OMP_NUM_THREADS": "1"} | variables
    name, arguments = str(ROOT / "tests" / script), list(map(str, arguments))
    return started(_run_script, name, arguments, variables, preloaded=[*PRELOADED, *COMPILER])


def ranks(count, script, *arguments):
    """Run a script of ``tests`` to its end as so many processes that work together, as torchrun starts them.

    One alone gets no word of others. torchrun itself would first load PyTorch, as would all that it starts.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    team |= {"TORCHELASTIC_RUN_ID": "none"}
    of = [team | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(count)] if count > 1 else [{}]
    running = [start_script(script, *arguments, **{name: str(value) for name, value in own.items()}) for own in of]
    until = time.monotonic() + 400
    try:
        while running and time.monotonic() < until:
            multiprocessing.connection.wait([process.sentinel for process in running], 1)
            codes = [process.exitcode for process in running]
            assert not any(codes)  # the others would wait for it in vain
            running = [process for process, code in zip(running, codes, strict=True) if code is None]
        assert not running, "still running"
    finally:
        for process in running:
            process.kill()


def _run_script(script, arguments, variables):
    os.environ |= variables
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
