#!/usr/bin/env bash
# Keeps the container there for an operator to work in, until it is told to stop.
set -euo pipefail

sleep infinity &
# PID 1 has no default for signals.
trap 'kill "$!"; exit 0' INT TERM
wait "$!"
