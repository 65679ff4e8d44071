#!/bin/bash
# A real Misago 0.39 for the tests: from PyPI, with Debian's PostgreSQL, as an instance of its own, on loopback.
#
#   .ci/misago.sh install   packages (needs root or sudo) and MISAGO_VENV (nothing where they are there)
#   .ci/misago.sh seed      database, users, categories; keeps a snapshot (nothing where it is there)
#   .ci/misago.sh start     answers on http://127.0.0.1:$PORT within seconds, its database on PGPORT
#   .ci/misago.sh stop
#   .ci/misago.sh reset     back to the snapshot; not while it runs
#
# RUN (default .run/misago) holds all it writes, but for the cluster: that lies below /tmp, where the user `postgres`
# may go when root runs this (PostgreSQL does not run as root). PORT (default 8088), PGPORT (default 5488).
# Users: admin / AdminPass123 (moderates), postroom / PostroomPass123 (a plain member).
set -euo pipefail
HOME_OF_PG=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
HERE=$(realpath "$(dirname "$0")/..")
MISAGO_VENV=${MISAGO_VENV:-$HERE/.run/misago-0.39.6}
export PORT=${PORT:-8088} PGPORT=${PGPORT:-5488}
RUN=$(realpath -m "${RUN:-$HERE/.run/misago}")

export LANG=C.UTF-8 PYTHONPATH=$RUN DJANGO_SETTINGS_MODULE=instance PYTHONDONTWRITEBYTECODE=1
export POSTGRES_DB=misago POSTGRES_USER=misago POSTGRES_PASSWORD= POSTGRES_HOST=127.0.0.1
unset VIRTUAL_ENV PYTHONHOME

packages() { [ -n "$HOME_OF_PG" ] && [ -x "$HOME_OF_PG/postgres" ] && command -v curl >/dev/null; }

present() { packages && [ -f "$MISAGO_VENV/ready" ]; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install() {
  if ! packages; then
    export DEBIAN_FRONTEND=noninteractive
    [ -n "${SKIP_UPDATE:-}" ] || as_root apt-get update -qq
    # No cluster of the system's own.
    as_root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] \
      || echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    as_root apt-get install -y -q --no-install-recommends postgresql curl
  fi
  [ -f "$MISAGO_VENV/ready" ] && return
  python3 -m venv --clear "$MISAGO_VENV"
  "$MISAGO_VENV/bin/python" -m pip install --quiet --disable-pip-version-check misago==0.39.6
  touch "$MISAGO_VENV/ready"
}

manage() { "$MISAGO_VENV/bin/python" -m django "$@"; }

# PostgreSQL refuses to run as root.
as_postgres() { (cd /tmp && if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi); }

cluster() { cat "$RUN/cluster"; }

make_cluster() {
  drop_cluster
  local folder
  folder=$(as_postgres mktemp -d /tmp/misago-pg-XXXXXX)
  echo "$folder" > "$RUN/cluster"
}

drop_cluster() {
  if [ -s "$RUN/cluster" ]; then
    case $(cluster) in /tmp/misago-pg-*) rm -rf "$(cluster)" ;; esac
    rm -f "$RUN/cluster"
  fi
}

start_postgres() {
  as_postgres "$HOME_OF_PG/pg_ctl" -s -w -D "$(cluster)" -l "$(cluster)/log" \
    -o "-p $PGPORT -c listen_addresses=127.0.0.1 -c unix_socket_directories=$(cluster) -c fsync=off -c full_page_writes=off" start
}

stop_postgres() {
  [ -s "$RUN/cluster" ] && [ -f "$(cluster)/postmaster.pid" ] || return 0
  as_postgres "$HOME_OF_PG/pg_ctl" -s -w -m immediate -D "$(cluster)" stop || true
}

instance() {
  mkdir -p "$RUN"
  cat > "$RUN/instance.py" <<'PYTHON'
import os

from devproject.settings import *  # the wheel ships it

HERE = os.path.dirname(os.path.abspath(__file__))
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES["default"]["PORT"] = os.environ["PGPORT"]
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "debug_toolbar"]
MIDDLEWARE = [each for each in MIDDLEWARE if "debug_toolbar" not in each]
MEDIA_ROOT = os.path.join(HERE, "media")
STATIC_ROOT = os.path.join(HERE, "static")
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
CELERY_TASK_ALWAYS_EAGER = True  # no redis, no worker
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
}
MISAGO_ADDRESS = "http://127.0.0.1:%s/" % os.environ["PORT"]
PYTHON
  cat > "$RUN/seed.py" <<'PYTHON'
from django.contrib.auth import get_user_model
from misago.acl.cache import clear_acl_cache
from misago.cache.versions import invalidate_all_caches
from misago.categories.models import Category, RoleCategoryACL
from misago.threads.models import AttachmentType
from misago.users.avatars import dynamic

User = get_user_model()
for user in (
    User.objects.create_superuser("admin", "admin@example.org", "AdminPass123"),
    User.objects.create_user("postroom", "postroom@example.org", "PostroomPass123"),
):
    # Pages show one.
    dynamic.set_avatar(user)
    user.save()
first = Category.objects.get(slug="first-category")


def child(name, slug, parent):
    made = Category(name=name, slug=slug)
    made.insert_at(parent, position="last-child", save=True)
    for acl in RoleCategoryACL.objects.filter(category=first):
        RoleCategoryACL.objects.create(category=made, role=acl.role, category_role=acl.category_role)
    return made


child("Printers", "printers", child("Support", "support", Category.objects.root_category()))
AttachmentType.objects.filter(extensions__contains="exe").delete()
Category.objects.clear_cache()
invalidate_all_caches()
PYTHON
}

seed() {
  present || { echo "Misago is not installed: run .ci/misago.sh install" >&2; exit 1; }
  instance
  [ -s "$RUN/snap.tar" ] && return
  make_cluster
  as_postgres "$HOME_OF_PG/initdb" -D "$(cluster)" -A trust -U misago -N -E UTF8 --locale=C.UTF-8 >/dev/null
  start_postgres
  as_postgres "$HOME_OF_PG/psql" -q -h 127.0.0.1 -p "$PGPORT" -U misago postgres -c 'create database misago'
  manage migrate --no-input -v 0
  manage shell < "$RUN/seed.py"
  as_postgres "$HOME_OF_PG/pg_ctl" -s -w -m fast -D "$(cluster)" stop
  tar -C "$(cluster)" -cf "$RUN/snap.tar.new" .
  mv "$RUN/snap.tar.new" "$RUN/snap.tar"
  drop_cluster
}

reset() {
  stop
  make_cluster
  # By pipe: the user of the database may not read RUN.
  as_postgres tar -C "$(cluster)" -xf - < "$RUN/snap.tar"
  rm -rf "$RUN/media"
}

alive() { [ -s "$RUN/pid" ] && kill -0 "$(cat "$RUN/pid")" 2>/dev/null; }

answers() { [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "http://127.0.0.1:$PORT/api/auth/")" = 200 ]; }

start() {
  seed
  alive && answers && return
  stop
  [ -s "$RUN/cluster" ] || reset
  start_postgres
  (cd "$RUN" && exec setsid "$MISAGO_VENV/bin/python" -m django runserver --noreload "127.0.0.1:$PORT" > "$RUN/log" 2>&1 < /dev/null) &
  echo $! > "$RUN/pid"
  for _ in $(seq 1 600); do
    answers && return
    alive || break
    sleep 0.1
  done
  tail -n 20 "$RUN/log" >&2
  stop
  exit 1
}

stop() {
  if alive; then
    kill "$(cat "$RUN/pid")"
    for _ in $(seq 1 100); do alive || break; sleep 0.1; done
  fi
  rm -f "$RUN/pid"
  stop_postgres
}

case ${1:-} in
  install | seed | start | stop | reset | present | drop_cluster) "$1" ;;
  *) sed -n '2,13p' "$0"; exit 2 ;;
esac
