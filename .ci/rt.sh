#!/bin/bash
# A real Request Tracker 5.0 for the tests: Debian 12's own package, as an instance of its own below RUN, on loopback.
#
#   .ci/rt.sh install   the packages (needs root or sudo; nothing where they are there)
#   .ci/rt.sh start     a fresh database, then answers on http://127.0.0.1:$PORT within seconds
#   .ci/rt.sh stop
#
# RUN (default .run/rt) holds all it writes; PORT (default 8085). Only `install` touches the system. `start` leaves
# RUN/token and RUN/admin-token: those of the user `postroom`, who has what docs/integrations/rt.md asks for, and of
# the administrator. The queue is `General`, with a custom field `Severity`.
set -euo pipefail
R=/usr/share/request-tracker5
PORT=${PORT:-8085}
RUN=$(realpath -m "${RUN:-$(dirname "$0")/../.run/rt}")
export RT_SITE_CONFIG=$RUN/RT_SiteConfig.pm RT_SITE_CONFIG_DIR=$RUN/RT_SiteConfig.d LANG=C.UTF-8

present() { [ -x $R/libexec/rt-server ] && dpkg -s request-tracker5 rt5-db-sqlite rt5-standalone >/dev/null 2>&1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
  present && return
  export DEBIAN_FRONTEND=noninteractive
  [ "${SKIP_UPDATE:-}" ] || as_root apt-get update -qq
  as_root env -u RT_SITE_CONFIG -u RT_SITE_CONFIG_DIR DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends request-tracker5 rt5-db-sqlite rt5-standalone curl >/dev/null
}

seed() {
  mkdir -p "$RUN"/{RT_SiteConfig.d,mason,sessions}
  rm -f "$RUN"/db.sqlite3*
  # Cheap hashes: RT checks the token at each request.
  cat > "$RT_SITE_CONFIG" <<PERL
Set(\$rtname, 'rt.test'); Set(\$Organization, 'rt.test');
Set(\$WebDomain, '127.0.0.1'); Set(\$WebPort, $PORT); Set(\$WebPath, ''); Set(\$WebBaseURL, 'http://127.0.0.1:$PORT');
Set(\$BcryptCost, 4); Set(\$LogToSyslog, undef); Set(\$LogToSTDERR, 'warning');
Set(\$MailCommand, 'sendmailpipe'); Set(\$SendmailPath, '/bin/true');
Set(\$DatabaseType, 'SQLite'); Set(\$DatabaseName, '$RUN/db.sqlite3');
Set(\$DatabaseHost, ''); Set(\$DatabasePort, ''); Set(\$DatabaseUser, ''); Set(\$DatabasePassword, '');
\$RT::MasonDataDir = '$RUN/mason'; \$RT::MasonSessionDir = '$RUN/sessions';
1;
PERL
  /usr/sbin/rt-setup-database-5 --action init --skip-create >"$RUN/setup.log" 2>&1 || { cat "$RUN/setup.log" >&2; exit 1; }
  cat > "$RUN/seed.pl" <<'PERL'
sub must { my ($ok, $why) = @_; die "$why\n" unless $ok; return $ok }
my $system = RT->SystemUser;
my $queue = RT::Queue->new($system); $queue->Load('General');
my $field = RT::CustomField->new($system);
must($field->Create(Name => 'Severity', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket'));
must($field->AddToObject(RT::Queue->new($system)));
my $user = RT::User->new($system);
must($user->Create(Name => 'postroom', RealName => 'Postroom Bot', EmailAddress => 'bot@example.com', Privileged => 1));
must($user->PrincipalObj->GrantRight(Object => $queue, Right => $_)) for
  qw(SeeQueue CreateTicket ShowTicket ShowTicketComments CommentOnTicket ReplyToTicket ModifyTicket
     SeeCustomField SetInitialCustomField ModifyCustomField);
my $root = RT::User->new($system); $root->Load('root');
for my $each ([$user, 'token'], [$root, 'admin-token']) {
  my ($ok, $why, $token) = RT::AuthToken->new($system)->Create(Owner => $each->[0]->id, Description => 'tests');
  must($ok, $why);
  open my $file, '>', "$ENV{RUN}/$each->[1]" or die $!;
  print $file $token; close $file;
}
PERL
  RUN=$RUN perl -I$R/lib -MRT=-init "$RUN/seed.pl" 2>>"$RUN/setup.log" || { cat "$RUN/setup.log" >&2; exit 1; }
}

answers() {
  [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' -H "Authorization: token $(cat "$RUN/token")" \
    "http://127.0.0.1:$PORT/REST/2.0/rt")" = 200 ]
}

alive() { [ -s "$RUN/pid" ] && kill -0 "$(cat "$RUN/pid")" 2>/dev/null; }

start() {
  present || { echo "Request Tracker is not installed: run .ci/rt.sh install" >&2; exit 1; }
  stop
  seed
  (cd "$RUN" && exec setsid $R/libexec/rt-server --host 127.0.0.1 --port "$PORT" --max-workers 3 --max-keepalive-reqs 1 \
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
