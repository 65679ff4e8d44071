#!/bin/bash
# A real Redmine 5.0 for the tests: Debian 12's own package, as an instance of its own below RUN, on loopback.
#
#   .ci/redmine.sh install   the packages (needs root or sudo; nothing where they are there)
#   .ci/redmine.sh seed      database, project, key; keeps a snapshot (nothing where it is there)
#   .ci/redmine.sh start     answers on http://127.0.0.1:$PORT within seconds (nothing where it already runs)
#   .ci/redmine.sh stop
#   .ci/redmine.sh reset     back to the snapshot, running or not
#
# RUN (default .run/redmine) holds all it writes; PORT (default 8086). Only `install` touches the system.
# `seed` leaves RUN/key: the API key of the user `admin`. The project is `inbox`.
set -euo pipefail
R=/usr/share/redmine
PORT=${PORT:-8086}
RUN=$(realpath -m "${RUN:-$(dirname "$0")/../.run/redmine}")

export RAILS_ENV=production REDMINE_LANG=en LANG=C.UTF-8
# Redmine looks for its instance below /var/lib/redmine: climb out of there, to files of our own.
export X_DEBIAN_SITEID="../../../../../../../../$RUN/site"
export BUNDLE_GEMFILE=$RUN/Gemfile
export BUNDLE_USER_HOME=$RUN/bundle
unset BUNDLE_WITHOUT GEM_HOME GEM_PATH RUBYOPT RUBYLIB

present() { [ -f $R/config.ru ] && command -v bundle >/dev/null && dpkg -s redmine redmine-sqlite >/dev/null 2>&1; }

# The packages' own set-up must not see the settings of our instance.
as_root() {
  set -- env -u BUNDLE_GEMFILE -u BUNDLE_USER_HOME -u X_DEBIAN_SITEID -u RAILS_ENV -u REDMINE_LANG "$@"
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

gem_directories() {
  # Debian's bundler 2.3.27 calls a gem deleted whose (empty) directory is not there.
  local spec directory
  for spec in /usr/share/rubygems-integration/*/specifications/*.gemspec; do
    directory=$(dirname "$(dirname "$spec")")/gems/$(basename "$spec" .gemspec)
    [ -d "$directory" ] || as_root mkdir -p "$directory"
  done
}

install() {
  if ! present; then
    export DEBIAN_FRONTEND=noninteractive
    [ -n "${SKIP_UPDATE:-}" ] || as_root apt-get update -qq
    # The package's own set-up fails the first time for want of those directories.
    as_root apt-get install -y -q --no-install-recommends redmine redmine-sqlite ruby-webrick curl \
      || { gem_directories; as_root dpkg --configure -a; }
  fi
  gem_directories
}

instance() {
  mkdir -p "$RUN"/site/{config,files,log,public,tmp/cache,tmp/pids} "$RUN/bundle"
  printf 'production:\n  adapter: sqlite3\n  database: %s/db.sqlite3\n  encoding: utf8\n  timeout: 10000\n' "$RUN" \
    > "$RUN/site/config/database.yml"
  [ -s "$RUN/site/config/secret_key.txt" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RUN/site/config/secret_key.txt"
  { cat $R/Gemfile; printf '\ngem "webrick"\n'; grep -q 'gem "sqlite3"' <(bundle_adapters) || printf 'gem "sqlite3", "~> 1.4.0"\n'; } > "$RUN/Gemfile"
}

bundle_adapters() {
  # Redmine's Gemfile takes the adapters from the system's database.yml where we may read it.
  [ -r $R/config/database.yml ] && grep -q sqlite3 $R/config/database.yml && echo 'gem "sqlite3"' || true
}

seed() {
  present || { echo "Redmine is not installed: run .ci/redmine.sh install" >&2; exit 1; }
  instance
  if [ -s "$RUN/snap.sqlite3" ] && [ -s "$RUN/key" ]; then return; fi
  stop
  rm -f "$RUN"/db.sqlite3* "$RUN/Gemfile.lock"
  cat > "$RUN/seed.rb" <<'RUBY'
ActiveRecord::Migration.verbose = false
ActiveRecord::MigrationContext.new(File.join(Rails.root, 'db', 'migrate'), ActiveRecord::SchemaMigration).migrate
ActiveRecord::Base.descendants.each(&:reset_column_information)
Redmine::DefaultData::Loader.load('en') if Redmine::DefaultData::Loader.no_data?
Setting.rest_api_enabled = '1'
# Without it a wrong key is treated as anonymous: an empty list instead of 401.
Setting.login_required = '1'
Setting.attachment_max_size = '1024'
Setting.attachment_extensions_denied = 'exe'
Setting.notified_events = []
user = User.find_by_login('admin')
user.password = user.password_confirmation = 'AdminPass123'
user.must_change_passwd = false
user.save!
project = Project.find_by_identifier('inbox') ||
          Project.create!(name: 'Inbox', identifier: 'inbox', is_public: false, trackers: Tracker.all,
                          enabled_module_names: %w[issue_tracking])
IssueCategory.create!(project: project, name: 'Printers') unless project.issue_categories.any?
Member.create!(project: project, principal: user, roles: [Role.givable.first]) unless project.members.any?
IssueCustomField.create!(name: 'Severity', field_format: 'string', is_for_all: true, trackers: Tracker.all)
File.write(File.join(ENV['RUN'], 'key'), user.api_key)
RUBY
  (cd $R && RUN=$RUN bundle exec ruby bin/rails runner "$RUN/seed.rb")
  cp "$RUN/db.sqlite3" "$RUN/snap.sqlite3"
}

answers() { [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "http://127.0.0.1:$PORT/login")" = 200 ]; }

alive() { [ -s "$RUN/pid" ] && kill -0 "$(cat "$RUN/pid")" 2>/dev/null; }

start() {
  seed
  if alive; then
    [ "$(cat "$RUN/port")" = "$PORT" ] && answers && return
    stop
  fi
  echo "$PORT" > "$RUN/port"
  (cd $R && exec setsid bundle exec rackup config.ru -E production -s webrick -o 127.0.0.1 -p "$PORT" \
    -P "$RUN/rack.pid" > "$RUN/log" 2>&1 < /dev/null) &
  echo $! > "$RUN/pid"
  for _ in $(seq 1 600); do
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
  rm -f "$RUN/pid" "$RUN/rack.pid"
}

reset() {
  local running=
  alive && running=1
  [ "$running" ] && stop
  rm -f "$RUN"/db.sqlite3*
  cp "$RUN/snap.sqlite3" "$RUN/db.sqlite3"
  rm -rf "$RUN"/site/files/*
  [ "$running" ] && start
  return 0
}

case ${1:-} in
  install | seed | start | stop | reset | present) "$1" ;;
  *) sed -n '2,12p' "$0"; exit 2 ;;
esac
