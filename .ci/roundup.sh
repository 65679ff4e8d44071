#!/bin/bash
# A real Roundup 2.6 for the tests: from PyPI, in a virtual environment of its own, on loopback.
#
#   .ci/roundup.sh install   Roundup into VENV (nothing where it is there)
#   .ci/roundup.sh start     a fresh tracker of the template `classic`, then answers on http://127.0.0.1:$PORT/demo/
#   .ci/roundup.sh stop
#
# VENV (default .run/roundup-venv); RUN (default .run/roundup) holds all else it writes; PORT (default 8087). RATE: calls
# in half a minute before it answers 429 (default: no limit). Users: admin / AdminPass123, and postroom / BotPass123 with
# the rights of the role User. Keywords: printer, network.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")/..
VENV=$(realpath -m "${VENV:-$HERE/.run/roundup-venv}")
PORT=${PORT:-8087}
RUN=$(realpath -m "${RUN:-$HERE/.run/roundup}")
VERSION=2.6.0
export LANG=C.UTF-8

present() { [ -e "$VENV/roundup-$VERSION" ]; }

install() {
  present && return
  rm -rf "$VENV"
  "${PYTHON:-python3}" -m venv "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check "roundup==$VERSION"
  touch "$VENV/roundup-$VERSION"
}

seed() {
  rm -rf "$RUN/tracker"
  mkdir -p "$RUN"
  admin() { "$VENV/bin/roundup-admin" -i "$RUN/tracker" "$@"; }
  admin install classic sqlite >/dev/null
  sed -i -E "s|^#?web = .*|web = http://127.0.0.1:$PORT/demo/|; s|^#?domain = .*|domain = test.invalid|; s|^#?host = NO.*|host = 127.0.0.1|
    s|^api_calls_per_interval.*|api_calls_per_interval = ${RATE:-0}|; s|^api_interval_in_sec.*|api_interval_in_sec = 30|
    s|^debug = *\$|debug = $RUN/mail.log|" "$RUN/tracker/config.ini"
  # The cheapest hash that it takes: Roundup checks the password at each request.
  sed -i -E "s|^password_pbkdf2_default_rounds = .*|password_pbkdf2_default_rounds = 1000|" "$RUN/tracker/config.ini"
  admin initialise AdminPass123
  admin create user username=postroom address=bot@example.com realname="Postroom Bot" password=BotPass123 roles=User >/dev/null
  admin create keyword name=printer >/dev/null
  admin create keyword name=network >/dev/null
}

answers() {
  [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' -H 'X-Requested-With: x' "http://127.0.0.1:$PORT/demo/")" = 200 ]
}

alive() { [ -s "$RUN/pid" ] && kill -0 "$(cat "$RUN/pid")" 2>/dev/null; }

start() {
  present || { echo "Roundup is not installed: run .ci/roundup.sh install" >&2; exit 1; }
  stop
  seed
  local user=(); [ "$(id -u)" = 0 ] && user=(-u root -g root)
  (exec setsid "$VENV/bin/roundup-server" "${user[@]}" -n 127.0.0.1 -p "$PORT" "demo=$RUN/tracker" \
    > "$RUN/log" 2>&1 < /dev/null) &
  echo $! > "$RUN/pid"
  for _ in $(seq 1 300); do
    answers && return
    alive || break
    sleep 0.1
  done
  tail -n 20 "$RUN/log" >&2
  exit 1
}

stop() {
  if alive; then
    kill "$(cat "$RUN/pid")"
    for _ in $(seq 1 100); do alive || break; sleep 0.1; done
  fi
  rm -f "$RUN/pid"
}

case ${1:-} in
  install | start | stop | present) "$1" ;;
  *) sed -n '2,11p' "$0"; exit 2 ;;
esac
