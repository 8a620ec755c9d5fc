#!/usr/bin/env bash
# Build a wheel into dist/, twice with the same bytes; install it without extras in a new environment outside the
# repository, and run it there.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_CONSTRAINT=$root/constraints.txt PIP_BUILD_CONSTRAINT=$root/constraints.txt  # both names: pip versions differ
# The time of the files in the wheel: that of the commit, whenever and wherever it is built.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)}

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" wheel -q --no-deps --wheel-dir "$work/dist" .
# Again from a copy: another folder, other times and permissions of the files.
mkdir "$work/copy"
(umask 077 && cp -R pyproject.toml README.md LICENSE .gitignore src "$work/copy")
"$work/venv/bin/pip" wheel -q --no-deps --wheel-dir "$work/again" "$work/copy"
cmp "$work"/dist/efface-*.whl "$work"/again/efface-*.whl ||
  { echo "two builds of the wheel differ" >&2; exit 1; }
"$work/venv/bin/pip" install -q -c constraints.txt "$work"/dist/efface-*.whl

export PATH="$work/venv/bin:$PATH"
cd "$work"
installed=$(python -c 'import efface; print(efface.__path__[0])')
files() { (cd "$1" && find . -type f -not -path '*/__pycache__/*' | sort); }
diff <(files "$root/src/efface") <(files "$installed") ||
  { echo "the files of the wheel differ from src/efface (< only in src, > only in the wheel)" >&2; exit 1; }

# Every module must import without extras and development tools.
python - <<'PYTHON'
import importlib, pkgutil, efface

names = [module.name for module in pkgutil.walk_packages(efface.__path__, "efface.")]
for name in names:
    importlib.import_module(name)
print(f"imported {len(names)} modules of efface {efface.__version__}")
PYTHON
efface --version
efface --help

log=$(find "${EFFACE_SHARED:-$root/../shared}/golden/eval_logs" -name '*.json' -not -name '*.expected.json' 2>/dev/null | sort | head -n 1 || true)
if [ -n "$log" ]; then
  efface score "$log" --definition tofu --json
fi

mkdir -p "$root/dist"
cp "$work"/dist/efface-*.whl "$root/dist/"
echo "$(basename "$work"/dist/efface-*.whl): built twice with the same bytes, installed elsewhere and run; SHA-256 $(sha256sum "$work"/dist/efface-*.whl | cut -d' ' -f1)"
