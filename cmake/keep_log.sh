#!/bin/sh
# keep_log.sh LOG COMMAND...: runs the command with its messages kept in LOG, and shown when it fails or warns.
log=$1
shift
"$@" 2>"$log"
code=$?
if [ $code -ne 0 ] || grep -q warning "$log"; then cat "$log" >&2; fi
exit $code
