"""
Generate the Python code of the schemas beside this file: C{python -m teleport_tw.api.proto.generate}.

The generated files are committed, so that neither an installation nor the tests need a compiler; a test asks that
they are fresh.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def generate(out: Path) -> list[Path]:
    """
    @param out: the folder that stands for the root of the packages.
    @return: the files written.
    @raise RuntimeError: the compiler found fault with a schema.
    """
    import grpc_tools
    from grpc_tools import protoc

    schemas = sorted(HERE.glob("*.proto"))
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
    ]
    names = [str(schema.relative_to(ROOT)) for schema in schemas]
    if protoc.main(arguments + names):
        raise RuntimeError("protoc failed")
    served = [name for name in names if "\nservice " in (ROOT / name).read_text()]
    grpc = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    if served and protoc.main([*arguments[:5], *grpc, *served]):
        raise RuntimeError("protoc failed")
    return sorted((out / HERE.relative_to(ROOT)).glob("*_pb2*.py*"))


if __name__ == "__main__":
    for written in generate(ROOT):
        print(written.relative_to(ROOT))
