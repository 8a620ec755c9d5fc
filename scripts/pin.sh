#!/usr/bin/env bash
# Resolve every dependency of efface and of its build again, in a new environment, and write constraints.txt and, with
# the SHA-256 of every file, requirements/*.txt.
# torch stays at the version in constraints.txt: changing it is a decision, not an update. triton, which is installed for
# liger-kernel, stays at the version that the CUDA build of torch needs.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -E '^(torch|triton)==' constraints.txt >"$work/torch.txt"
build_requirement=$(sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml)

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q -c "$work/torch.txt" -e '.[dev]' "$build_requirement" editables wheel

{
  echo '# Every version that `pip install -c constraints.txt` may install. Written by `make pins`.'
  echo '# The CUDA packages of a Linux build of torch are pinned by torch itself.'
  "$work/venv/bin/pip" freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+[a-z0-9.]*$//' | LC_ALL=C sort -f
} >"$work/constraints.txt"
mv "$work/constraints.txt" constraints.txt

"${PYTHON:-python3}" -m venv "$work/uv"
"$work/uv/bin/pip" install -q uv
"$work/uv/bin/python" scripts/hash_pins.py "$work/uv/bin/uv"
