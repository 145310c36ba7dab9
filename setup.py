"""Builds the compiled core of the solver; all else about the package is in pyproject.toml."""

from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

CORE = Path("canvas_rl", "space", "core")


class BuildCore(build_ext):
    """Says in one sentence what is missing where there is no compiler."""

    def build_extensions(self) -> None:
        """Compile, or end with that sentence."""
        try:
            super().build_extensions()
        except Exception as error:
            raise SystemExit(
                f"canvas_rl's solver is compiled, and that failed ({error}): install a C++17 compiler such as g++ or "
                "clang++ (Debian: apt install g++; conda: conda install -c conda-forge cxx-compiler) and try again"
            ) from error


ParallelCompile(default=2).install()
setup(
    ext_modules=[
        Pybind11Extension(
            "canvas_rl.space._core",
            sorted(str(path) for path in CORE.glob("*.cpp")),
            depends=sorted(str(path) for path in CORE.glob("*.hpp")),
            cxx_std=17,
            extra_compile_args=["-O3"],
        )
    ],
    cmdclass={"build_ext": BuildCore},
)
