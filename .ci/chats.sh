#!/bin/bash
# Real chat servers for the tests, on loopback: Synapse (Matrix), mosquitto (MQTT) and ngircd (IRC).
#
#   .ci/chats.sh install   packages of Debian, and Synapse into SYNAPSE_VENV (needs root or sudo; nothing where they are)
#   .ci/chats.sh present   whether they are
#   .ci/chats.sh start synapse | mosquitto | ngircd    answers on 127.0.0.1:PORT within seconds
#   .ci/chats.sh stop
#
# RUN holds all that one server writes, RUN/secret the secret by which Synapse registers users.
set -euo pipefail
HERE=$(realpath "$(dirname "$0")/..")
VERSION=1.163.2
SYNAPSE_VENV=${SYNAPSE_VENV:-$HERE/.run/synapse-$VERSION}
RUN=$(realpath -m "${RUN:-$HERE/.run/chats}")
PATH=$PATH:/usr/sbin
export LANG=C.UTF-8
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH

packages() { command -v mosquitto >/dev/null && command -v ngircd >/dev/null && command -v curl >/dev/null; }

present() { packages && [ -f "$SYNAPSE_VENV/ready" ]; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
  if ! packages; then
    export DEBIAN_FRONTEND=noninteractive
    [ -n "${SKIP_UPDATE:-}" ] || as_root apt-get update -qq
    as_root apt-get install -y -q --no-install-recommends mosquitto ngircd curl
  fi
  [ -f "$SYNAPSE_VENV/ready" ] && return
  python3 -m venv --clear "$SYNAPSE_VENV"
  "$SYNAPSE_VENV/bin/python" -m pip install --quiet --disable-pip-version-check matrix-synapse==$VERSION
  touch "$SYNAPSE_VENV/ready"
}

settings_of_synapse() {
  [ -s "$RUN/secret" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RUN/secret"
  printf 'version: 1\nformatters: {plain: {format: "%%(levelname)s %%(message)s"}}\nhandlers: {console: {class: logging.StreamHandler, formatter: plain}}\nroot: {level: WARNING, handlers: [console]}\n' > "$RUN/log.yaml"
  # Messages are limited so that tests see a real 429; users of other tests are exempt by the administrator.
  cat > "$RUN/homeserver.yaml" <<YAML
server_name: test.local
pid_file: $RUN/synapse.pid
log_config: $RUN/log.yaml
listeners:
  - {port: $PORT, type: http, bind_addresses: [127.0.0.1], resources: [{names: [client], compress: false}]}
database: {name: sqlite3, args: {database: $RUN/synapse.db}}
media_store_path: $RUN/media
signing_key_path: $RUN/signing.key
registration_shared_secret: $(cat "$RUN/secret")
report_stats: false
suppress_key_server_warning: true
trusted_key_servers: []
enable_media_repo: true
max_upload_size: 1M
default_room_version: "11"
rc_message: {per_second: 0.2, burst_count: 2}
rc_login: {address: {per_second: 100, burst_count: 100}, account: {per_second: 100, burst_count: 100}}
rc_joins: {local: {per_second: 100, burst_count: 100}}
YAML
}

run() {
  (cd "$RUN" && exec setsid "$@" > "$RUN/log" 2>&1 < /dev/null) &
  echo $! > "$RUN/pid"
}

answers() {
  if [ "$1" = synapse ]; then
    [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "http://127.0.0.1:$PORT/health")" = 200 ]
  else
    (exec 3<> "/dev/tcp/127.0.0.1/$PORT") 2>/dev/null
  fi
}

start() {
  mkdir -p "$RUN"
  case $1 in
    synapse)
      settings_of_synapse
      "$SYNAPSE_VENV/bin/python" -m synapse.app.homeserver -c "$RUN/homeserver.yaml" --generate-keys > "$RUN/log" 2>&1
      run "$SYNAPSE_VENV/bin/python" -m synapse.app.homeserver -c "$RUN/homeserver.yaml"
      ;;
    mosquitto)
      printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence false\n' "$PORT" > "$RUN/mosquitto.conf"
      # It gives up root for a user who may not read our folder.
      [ "$(id -u)" != 0 ] || echo 'user root' >> "$RUN/mosquitto.conf"
      run mosquitto -c "$RUN/mosquitto.conf"
      ;;
    ngircd)
      printf '[Global]\nName = irc.test\nInfo = test\nListen = 127.0.0.1\nPorts = %s\nMotdPhrase = hi\n[Options]\nIdent = no\nDNS = no\nPAM = no\n[Limits]\nMaxConnectionsIP = 0\n' "$PORT" > "$RUN/ngircd.conf"
      run ngircd -n -f "$RUN/ngircd.conf"
      ;;
  esac
  for _ in $(seq 1 600); do
    answers "$1" && return
    alive || break
    sleep 0.1
  done
  tail -n 20 "$RUN/log" >&2
  exit 1
}

alive() { [ -s "$RUN/pid" ] && kill -0 "$(cat "$RUN/pid")" 2>/dev/null; }

stop() {
  if alive; then
    kill "$(cat "$RUN/pid")"
    for _ in $(seq 1 100); do alive || break; sleep 0.1; done
    if alive; then kill -9 "$(cat "$RUN/pid")"; fi
  fi
  rm -f "$RUN/pid"
}

case ${1:-} in
  start) : "${PORT:?}"; start "${2:?}" ;;
  install | present | stop) "$1" ;;
  *) sed -n '2,9p' "$0"; exit 2 ;;
esac
