"""Installs Chroma's clients of four languages and runs our programs with them against a server.

    python tests/clients/run.py [LANGUAGE ...] [--chroma]

The languages are python, javascript, go and rust; without one all are run. Every program gets a
fresh `vermilion run`, or with --chroma a fresh server of Chroma's own. README.md tells what has to
be installed before, and where everything is kept.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import openai_server

from vermilion.engine import Engine

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples" / "collections"
CACHE = Path(
    os.environ.get("VERMILION_CLIENTS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vermilion-clients"
).resolve()
HOME = CACHE / "home"
JAVASCRIPT_MODEL = CACHE / "javascript-model"
START_SECONDS, STOP_SECONDS, PROGRAM_SECONDS = 60, 30, 600


@dataclass(frozen=True)
class Program:
    """Something that talks to the server whose URL it is given, and fails if an answer is wrong."""

    name: str
    # {url} stands for the server's URL.
    command: list[str]
    # Whether it wants to know which server it talks to, and what that can do.
    asks: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


def call(*command: str | Path, cwd: Path | None = None, **environment: str) -> None:
    """Runs a command; shows what it printed and ends this program if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfailed: {' '.join(map(str, command))}")


def tool(name: str, hint: str) -> str:
    """The path of a program that has to be installed."""
    found = shutil.which(name)
    if not found:
        sys.exit(f"{name} is needed: {hint}")
    return found


def once(folder: Path, sources: list[Path], build: Callable[[], None]) -> None:
    """Makes a folder, unless it is there and was made from these sources as they are now."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    mark = folder / "made-from"
    if mark.exists() and mark.read_text() == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build()
    mark.write_text(digest)


# ── the languages ────────────────────────────────────────────────────────────────────────────────


def environment_of(package: str) -> Path:
    """The Python environment of a package, installed from its lock file."""
    lock = HERE / "python" / f"{package}.txt"
    folder = CACHE / f"python-{sys.version_info[0]}.{sys.version_info[1]}-{package}"

    def install() -> None:
        call(sys.executable, "-m", "venv", folder)
        call(folder / "bin" / "pip", "install", "--quiet", "--requirement", lock)

    once(folder, [lock], install)
    return folder


def python() -> Iterator[Program]:
    """`chromadb` and `chromadb-client`, sync and async, the page's blocks, and frameworks."""
    client, page = str(HERE / "python" / "client.py"), str(HERE / "python" / "page.py")
    for package in ("chromadb", "chromadb-client"):
        interpreter = str(environment_of(package) / "bin" / "python")
        yield Program(f"python: {package}", [interpreter, client, "{url}"])
    interpreter = str(environment_of("chromadb") / "bin" / "python")
    yield Program("python: the page's blocks", [interpreter, page, "{url}"], False)
    program = str(HERE / "python" / "frameworks.py")
    interpreter = str(environment_of("frameworks") / "bin" / "python")
    for name in ("langchain", "llamaindex", "haystack"):
        # There Vermilion is not installed, only what it depends on.
        source = {"PYTHONPATH": str(HERE.parents[1] / "src")}
        yield Program(f"python: {name}", [interpreter, program, name, "{url}"], True, source)


def javascript() -> Iterator[Program]:
    """npm's `chromadb`, and the page's blocks, compiled by TypeScript."""
    npm, node = (tool(name, "Node.js 20 or newer") for name in ("npm", "node"))
    source, folder = HERE / "javascript", CACHE / "javascript"
    locks = [source / "package.json", source / "package-lock.json"]

    def install() -> None:
        for lock in locks:
            shutil.copy(lock, folder)
        # The only script that would do something downloads a library for graphics cards.
        call(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)

    once(folder, locks, install)
    model = folder / "node_modules/@huggingface/transformers/.cache/Xenova/all-MiniLM-L6-v2"
    shutil.copytree(JAVASCRIPT_MODEL, model, dirs_exist_ok=True)
    for old in (folder / "src", folder / "dist"):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(EXAMPLES / "typescript", folder / "src" / "page")
    shutil.copy(source / "client.ts", folder / "src")
    shutil.copy(source / "tsconfig.json", folder)
    call(node, folder / "node_modules/typescript/bin/tsc", "--project", folder)
    dist = folder / "dist"
    yield Program("javascript: chromadb", [node, str(dist / "client.js"), "{url}"])
    yield Program("javascript: the page's blocks", [node, str(dist / "page" / "run.js")], False)


def go() -> Iterator[Program]:
    """github.com/amikos-tech/chroma-go, and the page's blocks."""
    compiler = tool("go", "Go 1.24 or newer")
    folder = CACHE / "go"
    folder.mkdir(parents=True, exist_ok=True)
    flags = "-mod=readonly -buildvcs=false"
    for source in (HERE / "go", EXAMPLES / "go"):
        call(compiler, "build", "-o", f"{folder}/", "./...", cwd=source, GOFLAGS=flags)
    runtimes = "lib/*/site-packages/onnxruntime/capi/libonnxruntime.so.*"
    (runtime,) = environment_of("chromadb").glob(runtimes)
    libraries = {
        "CHROMAGO_ONNX_RUNTIME_PATH": str(runtime),
        "TOKENIZERS_LIB_PATH": str(tokenizers(compiler)),
    }
    yield Program("go: chroma-go", [str(folder / "clients"), "{url}"], True, libraries)
    yield Program("go: the page's blocks", [str(folder / "collections")], False, libraries)


def tokenizers(compiler: str) -> Path:
    """The library that the Go client's default model loads, built from its module's own source.

    The client would download it, as it would the ONNX runtime, which Python's package has.
    """
    cargo = tool("cargo", "Rust 1.85 or newer")
    module = "github.com/amikos-tech/pure-tokenizers"
    command = [compiler, "list", "-m", "-f", "{{.Dir}}", module]
    listed = subprocess.run(command, cwd=HERE / "go", check=True, capture_output=True, text=True)
    source, folder = Path(listed.stdout.strip()), CACHE / "tokenizers"
    manifest, lock = source / "Cargo.toml", source / "Cargo.lock"

    def build() -> None:
        for path in (manifest, lock):
            shutil.copyfile(path, folder / path.name)
        (folder / "src").mkdir()
        for path in (source / "src").iterdir():
            shutil.copyfile(path, folder / "src" / path.name)
        settings = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_TARGET_DIR": str(folder / "target")}
        call(cargo, "build", "--locked", "--quiet", cwd=folder, **settings)

    once(folder, [manifest, lock], build)
    return folder / "target" / "debug" / "libtokenizers.so"


def rust() -> Iterator[Program]:
    """The crates `chroma` and `chromadb`, and the page's blocks."""
    cargo = tool("cargo", "Rust 1.85 or newer")
    tool("protoc", "Debian's package protobuf-compiler")
    target = CACHE / "rust"
    call(
        cargo,
        "build",
        "--locked",
        "--quiet",
        "--workspace",
        cwd=HERE / "rust",
        CARGO_TARGET_DIR=str(target),
    )
    programs = target / "debug"
    for crate in ("chroma", "chromadb"):
        yield Program(f"rust: {crate}", [str(programs / crate), "{url}"])
    yield Program("rust: the page's blocks", [str(programs / "collections")], False)


LANGUAGES: dict[str, Callable[[], Iterator[Program]]] = {
    "python": python,
    "javascript": javascript,
    "go": go,
    "rust": rust,
}

# ── the server and the programs ──────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def server(command: list[str]) -> Iterator[str]:
    """The URL of a server on a free port and an empty directory, which has to end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+") as log:
        arguments = ["run", "--path", str(Path(folder) / "data"), "--port", str(port)]
        process = subprocess.Popen([*command, *arguments], stdout=log, stderr=log, cwd=folder)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process)
            yield url
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_SECONDS)
            if code not in (0, -signal.SIGTERM):
                raise RuntimeError(f"the server ended with {code}")
        except Exception:
            log.seek(0)
            print("\n".join(["the server's log:", *log.read().splitlines()[-60:]]))
            raise
        finally:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns once the server answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/api/v2/heartbeat", timeout=5).close()
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


def passes(program: Program, command: list[str], known: list[str]) -> bool:
    """Runs a program against a fresh server; tells whether all it asserts is true."""
    started = time.monotonic()
    try:
        with server(command) as url, openai_server.running() as openai:
            settings = {
                "HOME": str(HOME),
                "CHROMA_URL": url,
                "OPENAI_BASE_URL": openai,
                "OPENAI_API_KEY": "a key",
                "MY_CUSTOM_OPENAI_KEY": "a key",
            }
            done = subprocess.run(
                [part.format(url=url) for part in program.command] + known * program.asks,
                env=os.environ | settings | program.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PROGRAM_SECONDS,
            )
            if done.returncode:
                raise RuntimeError(f"{done.stdout}\nended with {done.returncode}")
    except (RuntimeError, subprocess.SubprocessError) as error:
        print(f"FAILED {program.name}: {error}", flush=True)
        return False
    print(f"ok {program.name} ({time.monotonic() - started:.1f} s)", flush=True)
    return True


def main() -> int:
    """Installs and runs; 1 when a program failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("languages", nargs="*", choices=[*LANGUAGES, []], metavar="LANGUAGE")
    parser.add_argument("--chroma", action="store_true", help="run Chroma's own server instead")
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    onnx = HOME / ".cache" / "chroma" / "onnx_models" / "all-MiniLM-L6-v2" / "onnx"
    call(sys.executable, HERE / "model.py", onnx, JAVASCRIPT_MODEL)
    if arguments.chroma:
        known, command = ["chroma"], [str(environment_of("chromadb") / "bin" / "chroma")]
    else:
        known, command = ["vermilion"], [sys.executable, "-m", "vermilion"]
        known += ["search"] * hasattr(Engine, "search")
    results = []
    for language in arguments.languages or LANGUAGES:
        started = time.monotonic()
        programs = list(LANGUAGES[language]())
        print(f"{language} installed ({time.monotonic() - started:.0f} s)", flush=True)
        results += [passes(program, command, known) for program in programs]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
