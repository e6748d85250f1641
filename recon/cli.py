"""The command line: ``recon reconstruct``, ``plan``, ``bench``, ``train`` and ``operators``.

Exit codes
----------
0
    Done: the output is written.
1
    An unexpected error, a defect of the library (``RECON_DEBUG=1`` shows the traceback).
2
    Wrong usage or input: nothing is written.
3
    The output is written, but it is not to be trusted: the solver diverged, or the data contradict the result.
130
    Interrupted: no file is left half-written.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click

import recon

DONE, UNEXPECTED, WRONG_INPUT, DOUBTFUL, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. An error is one message on the standard error stream."""
    try:
        return cli.main(arguments, prog_name="recon", standalone_mode=False) or DONE
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; no file is left half-written", INTERRUPTED)
    except click.UsageError as error:
        error.show()
        return WRONG_INPUT
    except Exception as error:
        if os.environ.get("RECON_DEBUG"):
            raise
        return _report(error)


def _report(error: Exception) -> int:
    from solvers.errors import ReconError

    if isinstance(error, (ReconError, click.ClickException)):
        return _fail(str(error), WRONG_INPUT)
    if isinstance(error, MemoryError):
        return _fail(f"not enough memory ({error}); use a smaller image or a larger machine", UNEXPECTED)
    return _fail(f"unexpected {type(error).__name__}: {error} (RECON_DEBUG=1 shows the traceback)", UNEXPECTED)


def _fail(message: str, code: int) -> int:
    click.echo(f"recon: {message}", err=True)
    return code


def _noise(context: click.Context, parameter: click.Parameter, value: str) -> str | float:
    from recon._decide import NOISES

    return value if value in NOISES else _number(value, f"{', '.join(NOISES)} or a number")


def _strength(context: click.Context, parameter: click.Parameter, value: str) -> str | float:
    return value if value == "auto" else _number(value, "auto or a number")


def _number(value: str, expected: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r}; expected {expected}.") from None


def _shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `reconstruct` and `plan` have in common."""
    options = [
        click.argument("input_path", metavar="INPUT"),
        click.option("--operator", "spec", metavar="SPEC.YAML", required=True, help="The forward model, in YAML."),
        click.option("--prior", default="auto", metavar="NAME", help="auto, tv, wavelet, tikhonov or none."),
        click.option("--solver", default="auto", metavar="NAME", help="auto, admm, fista, pdhg, cg, lbfgs, sirt, ..."),
        click.option("--noise", default="auto", callback=_noise, metavar="NOISE",
                     help="auto, gaussian, poisson, poisson-gaussian, impulse, speckle, rician, or the standard "
                     "deviation in the unit of INPUT."),
        click.option("--strength", default="auto", callback=_strength, metavar="STRENGTH",
                     help="auto, or the regularisation strength."),
        click.option("--max-iter", type=int, metavar="N", help="Upper bound of the solver's steps."),
        click.option("--tol", type=float, metavar="TOL", help="Relative distance to the limit at which to stop."),
        click.option("--bounds", type=float, nargs=2, metavar="LOW HIGH", help="Values the image may have."),
        click.option("--channel-axis", type=int, metavar="N",
                     help="Axis of INPUT that holds colours or bands. By default what the file says."),
        click.option("--calibration", metavar="FILE.JSON", help="What recon.calibrate saved for this operator."),
        click.option("--dataset", metavar="NAME", help="Which array of INPUT, where it holds several."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(recon.__version__, prog_name="recon")
def cli() -> None:
    """Reconstruct images from measurements and their forward model. Nothing needs tuning."""


@cli.command()
@_shared_options
@click.argument("output_path", metavar="OUTPUT")
@click.option("--range", "value_range", type=float, nargs=2, metavar="LOW HIGH",
              help="Write integers, 16 bits deep: LOW becomes 0 and HIGH the largest.")  # fmt: skip
@click.option("--clip", is_flag=True, help="Integers: saturate what lies outside the range instead of refusing.")
@click.option("--magnitude", is_flag=True, help="Write the magnitude of a complex image.")
@click.option("--report", "report_path", metavar="REPORT.JSON", help="Write what was decided and how it went.")
@click.option("--quiet", is_flag=True, help="No progress and no summary; warnings stay.")
def reconstruct(
    input_path: str,
    output_path: str,
    spec: str,
    dataset: str | None,
    value_range: tuple[float, float] | None,
    clip: bool,
    magnitude: bool,
    report_path: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Reconstruct the image of the measurement INPUT and write it to OUTPUT.

    Files are PNG, TIFF, NPY, NPZ or HDF5 (file.h5:/group/name); INPUT may also be JPEG, WebP or DICOM. OUTPUT is
    written whole or not at all. Exit codes: 0 written; 1 unexpected error; 2 wrong usage or input; 3 written, but the
    solver diverged or the data contradict the image; 130 interrupted.
    """
    from recon import files
    from recon.info import ReconstructionWarning

    _check_outputs(output_path, report_path, (input_path, spec))
    measurement, operator, options = _problem(input_path, spec, dataset, options)
    _check_kind(output_path, operator, magnitude)
    talk = not quiet and sys.stderr.isatty()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReconstructionWarning)  # info has them; they are printed below
        image, info = recon.reconstruct(measurement.array, operator, progress=talk, return_info=True, **options)
    image = _in_frame(image, operator, options["channel_axis"])
    image = abs(image) if magnitude else image
    files.write(output_path, image, like=measurement, value_range=value_range, clip=clip)
    code = DOUBTFUL if not info.trusted else DONE
    if report_path is not None:
        _write_report(report_path, input_path, output_path, spec, info, code)
    for text in info.warnings:
        click.echo(f"recon: warning: {text}", err=True)
    if talk:
        click.echo(f"{info}\nwritten   {output_path}, {' x '.join(map(str, image.shape))} {image.dtype}", err=True)
    return code


@cli.command()
@_shared_options
def plan(input_path: str, spec: str, dataset: str | None, **options: Any) -> None:
    """Say what `recon reconstruct` would do with INPUT, and why."""
    measurement, operator, options = _problem(input_path, spec, dataset, options)
    click.echo(str(recon.plan(measurement.array, operator, **options)))


@cli.command()
@click.argument("problems", nargs=-1, metavar="[PROBLEM]...")
@click.option("--solver", "solvers", multiple=True, metavar="NAME", help="Only this solver; may be given again.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Time of a solver for a problem.")
@click.option("--input", "input_path", metavar="INPUT", help="Rank the solvers on this measurement of yours.")
@click.option("--operator", "spec", metavar="SPEC.YAML", help="The forward model of INPUT.")
@click.option("--prior", default="auto", metavar="NAME", help="The prior for INPUT.")
@click.option("--json", "json_path", metavar="OUT.JSON", help="Write everything measured.")
@click.option("--html", "html_path", metavar="OUT.HTML", help="Write one page with tables and convergence plots.")
@click.option("--no-peers", is_flag=True, help="Leave out the other libraries that are installed.")
def bench(
    problems: tuple[str, ...],
    solvers: tuple[str, ...],
    seconds: float,
    input_path: str | None,
    spec: str | None,
    prior: str,
    json_path: str | None,
    html_path: str | None,
    no_peers: bool,
) -> None:
    """Time solvers to accuracy on the PROBLEMs named, on all the standard ones, or on a measurement of yours."""
    from recon import bench as benchmark
    from recon import files

    for path in (json_path, html_path):
        if path is not None:
            files.check_writable(path, (input_path, spec) if input_path and spec else ())
    entries: list[Any] = list(problems)
    if input_path is not None or spec is not None:
        if input_path is None or spec is None:
            raise click.UsageError("--input and --operator belong together. Give both.")
        measurement, operator, _ = _problem(input_path, spec, None, {"channel_axis": None, "calibration": None})
        entries.append(benchmark.Problem(os.path.basename(input_path), measurement.array, operator, prior))
    results = benchmark.bench(
        entries or None, solvers or None, seconds=seconds, peers=not no_peers,
        progress=lambda text: click.echo(text, err=True) if sys.stderr.isatty() else None,
        finished=lambda result: click.echo(f"{result}\n"),
    )  # fmt: skip
    click.echo(results.machine())
    if json_path is not None:
        results.to_json(json_path)
    if html_path is not None:
        results.to_html(html_path)


@cli.command()
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    metavar="FOLDER[:WEIGHT]",
    help="Images to train on, and how often they are drawn; may be given again.",
)
@click.option("--minutes", type=float, required=True, help="Training time, over all runs.")
@click.option("--out", required=True, metavar="OUT.SAFETENSORS", help="The weights; card and curve stand beside.")
@click.option("--config", metavar="SETTINGS.TOML", help="Network, noise, batch and the like.")
@click.option("--from", "start", metavar="NAME", help="Start from these weights: a name or a file.")
@click.option("--leg", type=float, metavar="MINUTES", help="Stop this run early; the same command goes on.")
@click.option("--device", metavar="NAME", help="For torch; by default a GPU where there is one.")
def train(folders: tuple[str, ...], config: str | None, **options: Any) -> None:
    """Train a denoiser on folders of images, or refine one; interrupted, the same command goes on."""
    from recon.learn import Settings, Source, train_denoiser

    settings = None if config is None else Settings.read(config)
    data = [Source.parse(folder) for folder in folders]
    train_denoiser(data, settings=settings, progress=click.echo, **options)


@cli.command()
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    metavar="FOLDER[:WEIGHT]",
    help="Images to train on, and how often they are drawn; may be given again.",
)
@click.option(
    "--minutes",
    type=float,
    required=True,
    help="Time to find the best steps of problems, over all runs; practice takes some twenty more.",
)
@click.option("--out", required=True, metavar="OUT.SAFETENSORS", help="The schedule; card and lessons stand beside.")
@click.option("--config", metavar="SETTINGS.TOML", help="Network, batch, steps and the like.")
@click.option("--leg", type=float, metavar="MINUTES", help="Stop this run early; the same command goes on.")
@click.option("--leave-one-out", is_flag=True, help="Also train without each family of operators, for the benchmark.")
def train_steps(folders: tuple[str, ...], config: str | None, **options: Any) -> None:
    """Train the steps of plug-and-play restoration on random problems; interrupted, the same command goes on."""
    from recon.learn import ScheduleSettings, Source, train_schedule

    settings = None if config is None else ScheduleSettings.read(config)
    data = [Source.parse(folder) for folder in folders]
    train_schedule(data, settings=settings, progress=click.echo, **options)


@cli.command()
def operators() -> None:
    """List the operators that a SPEC.YAML can name, with their parameters."""
    from recon._spec_compositions import COMPOSITIONS
    from recon.spec import operator_names

    classes = {name: getattr(recon.operators, class_name) for name, class_name in operator_names().items()}
    for name, kind in sorted({**classes, **COMPOSITIONS}.items()):
        summary = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").replace("``", "")
        parameters = ", ".join(map(_described, inspect.signature(kind).parameters.values()))
        click.echo(f"{name}\n    {summary}\n    {parameters}")


def _described(parameter: inspect.Parameter) -> str:
    optional = parameter.default is not inspect.Parameter.empty
    return f"{parameter.name}={parameter.default!r}" if optional else parameter.name


def _check_outputs(output: str, report: str | None, inputs: tuple[str, ...]) -> None:
    """Before anything is computed: what cannot be written, or would replace an input, is refused."""
    from recon import files
    from solvers.errors import FileError

    files.check_output(output, inputs)
    if report is None:
        return
    if os.path.splitext(report)[1].lower() != ".json":
        raise FileError(f"--report is {report}; expected a file name that ends in .json. Rename it.")
    files.check_writable(report, (*inputs, output))


def _problem(path: str, spec: str, dataset: str | None, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The measurement, the operator, and the options with the channel axis that the file knows."""
    from recon import files
    from recon.spec import load_operator

    measurement = files.read(path, dataset=dataset)
    shape, axis = list(measurement.array.shape), options["channel_axis"]
    told = measurement.metadata.get("channel_axis") if axis is None else axis
    if told is not None and -len(shape) <= told < len(shape):
        del shape[told]
    operator = load_operator(spec, shape)
    if axis is None and len(operator.out_shape) < measurement.array.ndim:
        axis = told
    stored = options["calibration"]
    calibration = None if stored is None else recon.Calibration.load(stored)
    return measurement, operator, {**options, "channel_axis": axis, "calibration": calibration}


def _check_kind(output: str, operator: Any, magnitude: bool) -> None:
    from recon import files
    from solvers.errors import FileError

    if getattr(operator, "kind", "any") == "complex" and not magnitude and not files.holds_complex(output):
        raise FileError(
            f"{output} cannot hold the complex image that {operator!r} gives. Add --magnitude, or write .npy or .h5."
        )


def _in_frame(image: Any, operator: Any, channel_axis: int | None) -> Any:
    """The part of the image in the measurement's frame, where the image reaches beyond it."""
    interior = operator.interior
    if interior is None:
        return image
    if channel_axis is None:
        return image[(..., *interior)]
    import numpy as np

    bands = np.moveaxis(image, channel_axis, 0)
    return np.moveaxis(bands[(..., *interior)], 0, channel_axis)


def _write_report(path: str, source: str, output: str, spec: str, info: Any, code: int) -> None:
    from recon import files

    content = {
        "version": recon.__version__,
        "input": source,
        "output": output,
        "operator": {"specification": spec, "repr": repr(info.plan.operator)},
        "exit_code": code,
        "plan": {name: {"choice": d.choice, "reason": d.reason} for name, d in info.plan.decisions.items()},
        "strength": info.plan.strength,
        "noise": repr(info.plan.noise),
        "status": info.status.name.lower(),
        "status_text": info.status.value,
        "iterations": info.iterations,
        "residual_over_noise": info.residual,
        "seconds": info.seconds,
        "warnings": list(info.warnings),
        "history": info.history,
    }
    text = json.dumps(_plain(content), indent=2, allow_nan=False)
    with files.replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """What JSON can hold; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    number = float(value)
    return number if math.isfinite(number) else None


if __name__ == "__main__":
    sys.exit(main())
