#!/usr/bin/env bash
set -euo pipefail

readonly PI=3.14159

# The surface of a circle with the given radius.
area() {
  local radius=$1
  if [[ $radius -lt 0 ]]; then
    echo "the radius is $radius; it must not be below zero" >&2
    return 1
  fi
  echo "$PI * $radius * $radius" | bc
}

# The surfaces of all circles in a file, one radius a line.
areas() {
  while read -r radius; do
    area "$radius"
  done < "$1"
}

areas "$1"
