#!/usr/bin/env bash
# Runs one step of the build: step.sh NAME COMMAND...
# Says which one it is, and then how long it took, or how to run it again by itself.
name=$1
shift
echo "==> $name"
"$@"
status=$?
if [ "$status" = 0 ]; then
  echo "    $name: done in $SECONDS s"
else
  echo "    $name FAILED after $SECONDS s. To run it alone: $*" >&2
fi
exit "$status"
