#!/bin/bash
# A real Postfix for the tests: Debian 12's own package, as an instance of its own below RUN, on loopback. Its domain
# `inbox.test` is handed to Postroom by contrib/postroom-pipe, as docs/ingresses.md shows it.
#
#   .ci/postfix.sh install   the packages (needs root or sudo; nothing where they are there)
#   .ci/postfix.sh present   whether they are, and this user may start it (Postfix needs root or sudo)
#   .ci/postfix.sh start     takes mail on 127.0.0.1:$PORT within seconds; hands it to URL by TOKEN
#   .ci/postfix.sh queue     what waits
#   .ci/postfix.sh stop
#
# RUN holds all it writes, RUN/log what it tells. Users `postfix` and `nobody` must be able to enter RUN.
set -euo pipefail
HERE=$(realpath "$(dirname "$0")/..")
PORT=${PORT:-2526}
RUN=$(realpath -m "${RUN:-$HERE/.run/postfix}")
PATH=$PATH:/usr/sbin
export LANG=C.UTF-8 MAIL_CONFIG=$RUN/etc

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

packages() { command -v postfix >/dev/null && command -v curl >/dev/null; }

present() { packages && as_root true 2>/dev/null; }

install() {
  packages && return
  export DEBIAN_FRONTEND=noninteractive
  [ -n "${SKIP_UPDATE:-}" ] || as_root apt-get update -qq
  # The system's own instance stays off: it would take port 25.
  local policy=/usr/sbin/policy-rc.d ours= done=0
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    ours=1
  fi
  as_root apt-get install -y -q --no-install-recommends postfix curl || done=$?
  [ -z "$ours" ] || as_root rm -f $policy
  return $done
}

settings() {
  mkdir -p "$RUN/etc" "$RUN/spool" "$RUN/data"
  as_root chown postfix "$RUN/data"
  cp "$HERE/contrib/postroom-pipe" "$RUN/postroom-pipe"
  printf 'url = "%s"\nheader = "Authorization: Bearer %s"\n' "$URL" "$TOKEN" > "$RUN/pipe.conf"
  chmod 755 "$RUN" "$RUN/postroom-pipe"
  chmod 644 "$RUN/pipe.conf"  # of a test: in earnest the user of the pipe alone may read it
  cat > "$RUN/etc/main.cf" <<CF
compatibility_level = 3.6
queue_directory = $RUN/spool
data_directory = $RUN/data
maillog_file = $RUN/log
maillog_file_prefixes = $RUN
myhostname = mx.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
mydestination =
virtual_mailbox_domains = inbox.test
virtual_mailbox_maps =
virtual_transport = postroom:
default_transport = error:no mail goes out
recipient_delimiter = +
message_size_limit = 31457280
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_rate_limit = 0
# Patience of tests: minutes and hours in earnest.
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
CF
  sed "s/^smtp      inet .*/127.0.0.1:$PORT inet n - n - - smtpd/" /usr/share/postfix/master.cf.dist > "$RUN/etc/master.cf"
  cat >> "$RUN/etc/master.cf" <<CF
postroom unix - n n - 4 pipe
  flags=Rq eol=\r\n null_sender= user=nobody argv=$RUN/postroom-pipe $RUN/pipe.conf \${sender} \${client_address} \${original_recipient}
CF
  as_root chown -R root:root "$RUN/etc"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; }

start() {
  settings
  as_root postfix -c "$RUN/etc" start
  for _ in $(seq 1 300); do
    answers && return
    sleep 0.1
  done
  tail -n 20 "$RUN/log" >&2
  exit 1
}

queue() { as_root postqueue -c "$RUN/etc" -j; }

stop() { as_root postfix -c "$RUN/etc" status 2>/dev/null && as_root postfix -c "$RUN/etc" stop || true; }

case ${1:-} in
  install | present | start | queue | stop) "$1" ;;
  *) sed -n '2,14p' "$0"; exit 2 ;;
esac
